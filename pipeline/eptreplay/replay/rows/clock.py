"""How the times of a guest are placed on the clock of its host."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.errors import UsageError
from eptreplay.units import nanoseconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.ingest.trace.guest_trace import GuestTrace


class Clock(NamedTuple):
    """How a guest's rows are placed on the host's clock: (time - `begin`) * `tick`, rounded down, plus `start`.

    Args:
        begin: time of the guest's first row, on its own clock.
        tick: length of its unit of time, in the host's.
        start: when its first row happens, on the host's clock.
    """

    begin: int = 0
    tick: Fraction = Fraction(1)
    start: int = 0

    def place(self, time: int) -> int:
        """Return when something happens on the host's clock."""
        return (time - self.begin) * self.tick.numerator // self.tick.denominator + self.start

    def on_trace(self, time: int) -> int:
        """Return a time of the host's clock on the guest's own, rounded down to its unit."""
        return self.begin + int((time - self.start) // self.tick)

    def at(self, batch: Batch) -> NDArray[np.uint64]:
        """Return when the rows of a batch happen."""
        assert batch.time is not None  # noqa: S101 - the caller asked for times
        numerator, denominator = map(np.uint64, self.tick.as_integer_ratio())
        passed = (batch.time - np.uint64(self.begin)) * numerator
        return (passed if denominator == 1 else passed // denominator) + np.uint64(self.start)


def tick_of(trace: GuestTrace, needed: str) -> Fraction:
    """Return the length of a trace's unit of time, ns.

    Args:
        trace: the trace.
        needed: what needs it, in words.

    Raises:
        UsageError: it is unknown.
    """
    tick = nanoseconds(trace.time_unit)
    if tick is None:
        raise UsageError(
            f"guest '{trace.name}' counts {trace.time_unit}, no time, and {needed}: say its rate "
            "with clock_mhz in the metadata or in guest.toml, or with --clock-mhz"
        )
    return tick
