"""What a host did besides what its guests did: plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.rows.clock import Clock
    from eptreplay.replay.rows.schedule import EveryStep
    from eptreplay.request.host import HostOptions


@dataclass(frozen=True, slots=True)
class Look:
    """What the page daemon would do next to a guest at the end of its trace.

    Args:
        begin, end: of the guest's trace, on the host's clock; None if unknown.
        idle_scans: shape [profiles]: idle scans so far.
        active: shape [profiles]: host CPUs that run the guest.
        candidates: for every profile: CANDIDATE [guest pages].
    """

    begin: int | None
    end: int | None
    idle_scans: list[int]
    active: list[int]
    candidates: list[NDArray[Any]]


@dataclass(slots=True)
class HostFindings:
    """What a host did besides what its guests did; times are on the host's clock.

    Args:
        options: of the host.
        clocks: by guest, how its times are placed on the host's clock.
        begin, end: when the first guest begins and the last one ends; None if unknown.
        scans: when idle scans were due, of which there can be too many for a list; None if only their rows are known.
        vm: VM [profiles] at the end of every interval.
        cluster_pages: shape [profiles]: the most pages written to swap at once.
        looks: by guest, what would be done to it at the end of its trace.
    """

    options: HostOptions
    clocks: Mapping[str, Clock]
    begin: int | None
    end: int | None
    scans: EveryStep | None = None
    vm: list[NDArray[np.void]] = field(default_factory=list)
    cluster_pages: list[int] = field(default_factory=list)
    looks: dict[str, Look] = field(default_factory=dict)

    def age_times(self, trace: GuestTrace, scan: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how long before the guest's end each idle scan was, at most as long as its trace, in the trace's unit.

        Scan 0 is the beginning of the host; -1: unknown.
        """
        look = self.looks[trace.name]
        if self.begin is None or look.begin is None or look.end is None:
            return np.full(len(scan), -1, np.int64)
        step = 0 if self.scans is None else self.scans.step
        ages = look.end - (self.begin + step * scan.astype(np.int64))
        ages = np.minimum(ages, look.end - look.begin) // self.clocks[trace.name].tick
        return ages if self.scans is not None else np.where(scan == 0, ages, -1)
