"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from eptreplay.units import PAGE_BYTES, binary_size, nanoseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1 << 20
GIB = 1 << 30

_SHORT = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def count(value: int, word: str = "", plural: str = "") -> str:
    """Return a count with thousands separated, and its word in the right number: `1 exit`, `2,000 exits`."""
    text = f"{value:,}"
    if not word:
        return text
    return f"{text} {word if value == 1 else plural or word + 's'}"


def listed(parts: Sequence[str]) -> str:
    """Return parts as a sentence lists them."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def rate(value: float) -> str:
    """Return a rate with three digits, or without a fraction from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def short(value: float) -> str:
    """Return a number for an axis: `1.5k`, `20M`; small ones as they are."""
    for size, letter in _SHORT:
        if abs(value) >= size:
            return f"{value / size:.6g}{letter}"
    return f"{value:.6g}"


def memory(pages: float) -> str:
    """Return a number of 4 KB pages as a size."""
    return binary_size(round(pages * PAGE_BYTES))


def percent(part: float, whole: float) -> str:
    """Return a share in percent with three digits, or what it is called when there is nothing."""
    if whole == 0:
        return "-"
    share = 100 * part / whole
    if 0 < abs(share) < 0.01:
        return "under 0.01 %"
    return f"{share:.3g} %" if share < 999.5 else f"{share:,.0f} %"


def change(base: float, value: float) -> str:
    """Return the difference to a base in percent; empty where there is none, or nothing to compare with."""
    if base in (value, 0):
        return ""
    ratio = value / base
    if ratio >= 10:
        return f"x{ratio:,.0f}"
    return f"{100 * (ratio - 1):+.1f} %"


def points(base: float, value: float) -> str:
    """Return the difference of two shares in points, hundredths of the whole; empty where there is none."""
    difference = 100 * (value - base)
    if difference == 0:
        return ""
    if abs(difference) < 0.01:
        return f"under 0.01 points {'more' if difference > 0 else 'less'}"
    return f"{difference:+.3g} points"


def seconds(value: float) -> str:
    """Return a time in the unit in which it has one to three digits before the point."""
    if value == 0:
        return "0 s"
    for limit, scale, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if abs(value) < limit:
            return f"{value * scale:.3g} {unit}"
    return f"{value:.3g} s" if abs(value) < 1000 else f"{value:,.0f} s"


def in_seconds(time: int, unit: str) -> float | None:
    """Return a time of a trace in seconds; None when the trace counts something else."""
    length = nanoseconds(unit)
    return None if length is None else time * length.numerator / length.denominator / 1e9


def finite(value: float) -> float | None:
    """Return a number that JSON can hold; None for what is none."""
    return value if math.isfinite(value) else None
