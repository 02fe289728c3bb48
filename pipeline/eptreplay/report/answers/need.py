"""How much memory a guest needs, by every miss-ratio curve that its run has (rules: docs/reports.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.report.read.frames import parts_of
from eptreplay.report.read.numbers import count
from eptreplay.units import binary_size

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from eptreplay.report.read.run import Guest

METHODS = ("exact", "shards", "intervals")
"""Ways to find the curve, the most exact first."""

FEW_MISSES = 1e-6
"""Misses per access, beyond first touches, that a guest is taken to bear."""


class Need(NamedTuple):
    """The least memory with which a guest misses no more often than allowed, bytes.

    Args:
        least: with less it would miss more often, as far as the curves are certain; 0: they do not begin that low.
        most: with so much it would not.
    """

    least: int
    most: int

    def __str__(self) -> str:
        """Return it as people say it."""
        least, most = binary_size(self.least), binary_size(self.most)
        if self.least == 0:
            return f"at most {most}"
        if least == most:
            return most
        number, unit = least.split()
        return f"{number} to {most}" if most.endswith(f" {unit}") else f"{least} to {most}"


def curves(guest: Guest) -> dict[str, pl.DataFrame]:
    """Return the miss-ratio curves by method, the most exact first; none where no access touched memory."""
    return guest.once("miss-ratio curves", _curves)


def by_size(guest: Guest) -> pl.DataFrame:
    """Return the points of all miss-ratio curves, the smallest memory first."""
    return guest.once("miss ratios by size", lambda of: of.frame("miss_ratio").sort("memory_bytes"))


def _curves(guest: Guest) -> dict[str, pl.DataFrame]:
    frame = by_size(guest)
    if frame.is_empty() or not frame["accesses"][0]:
        return {}
    parts = parts_of(frame, "method")
    return {method: parts[method,] for method in METHODS if (method,) in parts}


def first_touches(parts: dict[str, pl.DataFrame]) -> float:
    """Return how many accesses of all are the first to their page: they miss at every size."""
    return min(float(part["miss_ratio"][-1]) for part in parts.values())


def needed(parts: dict[str, pl.DataFrame], few: float = FEW_MISSES) -> Need:
    """Return the memory with which at most `few` of all accesses miss, beyond first touches.

    Of all curves the narrowest bounds count.
    """
    allowed = first_touches(parts) + few
    least, most = 0, 0
    for part in parts.values():
        sizes, ratio, error = (part[name].to_numpy() for name in ("memory_bytes", "miss_ratio", "error"))
        low = _first(sizes, ratio - error <= allowed)
        high = _first(sizes, ratio + error <= allowed)
        least = max(least, low if low > sizes[0] else 0)
        most = min(most, high) if most else high
    return Need(min(least, most), most)


def _first(sizes: NDArray[np.int64], good: NDArray[np.bool_]) -> int:
    """Return the smallest size that is good, or the largest there is."""
    return int(sizes[np.argmax(good)] if good.any() else sizes[-1])


def basis(parts: dict[str, pl.DataFrame], pages_touched: int) -> str:
    """Return, as a sentence, what the most exact curve rests on, and its error."""
    method, part = next(iter(parts.items()))
    rate = float(part["sampling_rate"][0])
    if method == "intervals":
        return "Bounds, from the pages of each interval."
    if rate == 1:
        return "Exact: every access counted."
    pages = count(max(1, round(rate * pages_touched)), "page")
    return f"By a sample of about {pages}, 1 in {1 / rate:,.0f}; error: two standard errors."
