"""Values of options that are refused in words of our own: paths, shares, speeds."""

from __future__ import annotations

import math
from pathlib import Path

from eptreplay.errors import UsageError
from eptreplay.request import link

SLOWEST, FASTEST = 0.001, link.FASTEST // link.GBIT
"""Links that a migration is estimated over, Gbit/s."""

SLOWEST_MHZ, FASTEST_MHZ = 0.001, 1_000_000
"""Clocks that a trace may count the cycles of, MHz."""


def path(text: str | Path) -> Path:
    """Read a path.

    Raises:
        UsageError: it is empty, which would stand for the current folder, or a URL, which may hold a password and is not repeated.
    """
    if not str(text):
        raise UsageError("a path is empty; an unset shell variable?")
    if "://" in str(text):
        raise UsageError(
            "a URL stands where a path of this machine has to; only the traces of replay and check are read from URLs"
        )
    return Path(text)


def share(text: str | float) -> float:
    """Read a share of a whole.

    Raises:
        UsageError: it is no number from 0 to 1.
    """
    value = _number(text)
    if not 0 <= value <= 1:
        raise UsageError(f"'{text}' is no share; give a number from 0 to 1, as in 0.25")
    return value


def speed(text: str | float) -> float:
    """Read the speed of a link in Gbit/s.

    Raises:
        UsageError: it is no number, or there is no such link.
    """
    value = _number(text)
    if not SLOWEST <= value <= FASTEST:
        raise UsageError(
            f"'{text}' is no speed of a link; give Gbit/s, from {SLOWEST:g} to {FASTEST:g}, as in 2.5"
        )
    return value


def clock_rate(text: str | float) -> float:
    """Read the rate of a clock in MHz.

    Raises:
        UsageError: it is no number, or no clock has it.
    """
    value = _number(text)
    if not SLOWEST_MHZ <= value <= FASTEST_MHZ:
        raise UsageError(
            f"'{text}' is no rate of a clock; give MHz, from {SLOWEST_MHZ:g} to {FASTEST_MHZ:,}, as in 2400"
        )
    return value


def _number(text: str | float) -> float:
    """Return a number; what is none is no part of any range."""
    try:
        return float(text)
    except ValueError:
        return math.nan
