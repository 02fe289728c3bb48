"""Axes: where the ticks are, and where on the axis a value is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.report.read.numbers import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HEIGHT = 1000
"""Levels of a plot from bottom to top."""


class Tick(NamedTuple):
    """A mark on an axis: where it is, in percent of the axis' length, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`; logarithmic from 1 with 0 at its foot if `log`; of counts if `whole`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where values are, as a share of the axis from 0 to 1."""
        if self.log:
            return np.asarray(np.log10(1 + np.maximum(values, 0)) / math.log10(1 + self.high), np.float64)
        return np.asarray((values - self.low) / (self.high - self.low), np.float64)

    def ticks(self, wanted: int = 4) -> Sequence[Tick]:
        """Return round values with their places."""
        return _ticks(self, wanted)

    def _worked_out(self, wanted: int) -> tuple[Tick, ...]:
        values = self._decades() if self.log else nice_values(self.low, self.high, wanted)
        if self.whole:
            values = [value for value in values if float(value).is_integer()]
        places = self.place(np.array(values, np.float64))
        return tuple(
            Tick(round(100 * float(place), 3), short(value))
            for value, place in zip(values, places, strict=True)
        )

    def _decades(self) -> list[float]:
        powers = range(int(math.log10(self.high)) + 1 if self.high >= 1 else 0)
        step = 1 + (len(powers) - 1) // 5 if len(powers) > 1 else 1
        found = [10.0**power for power in powers if power % step == 0]
        places = self.place(np.array(found))
        return [0.0, *(value for value, at in zip(found, places, strict=True) if at >= CLOSEST)]


@lru_cache(maxsize=1024)
def _ticks(scale: Scale, wanted: int) -> tuple[Tick, ...]:
    """Return the ticks of a scale: a page asks for them more than once, and many charts have the same."""
    return scale._worked_out(wanted)  # noqa: SLF001 - the class is in this file


def nice_values(low: float, high: float, wanted: int) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten in [low, high], about `wanted` of them."""
    span = high - low
    if span <= 0:
        return [low]
    step = nice_step(span / max(1, wanted))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def nice_step(rough: float) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough * (1 - 1e-9)), 10 * power)


CLOSEST = 0.07
"""Share of the axis below which a mark would run into that of 0."""

LOG_FROM = 30
"""Highest value from which a logarithmic scale shows more than a linear one."""


def from_zero(highest: float, *, log: bool = False, whole: bool = False) -> Scale:
    """Return a scale from 0 to just above the highest value; to 1 when all are 0.

    With `log` it is logarithmic if there is a range of values that needs it; with `whole` its ticks are whole numbers.
    """
    if not math.isfinite(highest) or highest <= 0:
        return Scale(0, 1)
    log = log and highest >= LOG_FROM
    return Scale(0, highest * (1.6 if log else 1.06), log, whole)
