"""Who uses a guest's memory besides its vCPUs: the hypervisor, whose writes the host sees, and devices, whose writes it does not.

A page that is written in an interval belongs to the vCPU or the hypervisor that wrote it first.  It belongs to a
device only if nobody else wrote it: then no dirty bit shows it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eptreplay.ingest.trace.schema import Event
from eptreplay.model.state.rows import OP_READ, OP_WRITE
from eptreplay.model.statistics.intervals import JUST_WRITTEN
from eptreplay.model.statistics.other_accesses import enter_access
from eptreplay.replay.found.snapshots import OtherWrites

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eptreplay.model.statistics.intervals import IntervalStatistics
    from eptreplay.replay.rows.event import HostEvent

PAGE_SHIFT = 12
PROT_WRITE = 2  # in the argument of a hold
"""A page held for writing counts as written: vm_gpa_hold marks it dirty."""


@dataclass(slots=True)
class OtherWriters:
    """The hypervisor and the devices of one guest, while an interval is open."""

    first_page: int
    """Flat number of the guest's page 0."""
    devices: int = 0
    """Passthrough devices of the guest."""
    _hypervisor: int = 0
    _accesses: int = 0
    _by_devices: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By flat page that a device wrote: the device that wrote it first, and the row."""

    def note(
        self, event: HostEvent, statistics: IntervalStatistics, fast_path: NDArray[np.uint8], row: int
    ) -> int | None:
        """Record an event that was carried out, as row `row`; return the flat page if it is an access to one."""
        if event.kind not in _ACCESSES:
            return None
        flat = self.first_page + (event.gpa >> PAGE_SHIFT)
        writes = event.kind in _WRITES or (event.kind is Event.GPA_HOLD and event.arg & PROT_WRITE != 0)
        self._accesses += 1
        if writes:
            statistics.unharvested[flat] = JUST_WRITTEN
        if event.kind is Event.DMA_WRITE:
            self._by_devices.setdefault(flat, (event.arg if self.devices > 1 else 0, row))
        else:
            self._hypervisor += enter_access(
                statistics, fast_path, flat, OP_WRITE if writes else OP_READ, row
            )
        return flat

    def close(self, statistics: IntervalStatistics, fast_path: NDArray[np.uint8]) -> OtherWrites:
        """Enter what only devices wrote in the statistics of the interval that is about to close, and return who wrote what."""
        if self._accesses == 0:
            return OtherWrites()
        first = Counter(
            device
            for flat, (device, row) in self._by_devices.items()
            if enter_access(statistics, fast_path, flat, OP_WRITE, row)
        )
        found = OtherWrites(self._hypervisor, dict(first), self._accesses)
        self._hypervisor, self._accesses = 0, 0
        self._by_devices.clear()
        return found


_WRITES = frozenset({Event.HOST_WRITE, Event.DMA_WRITE})
_ACCESSES = _WRITES | {Event.HOST_READ, Event.DMA_READ, Event.GPA_HOLD}
