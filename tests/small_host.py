"""A small host and its guests that tests drive access by access, and look into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.model._numba.arrays import records
from eptreplay.model.access_loop.sweep import scan
from eptreplay.model.cpu.vmm import vcpu_run, vcpu_stop
from eptreplay.model.instances import GuestMemory, guest_bases, out_of_memory
from eptreplay.model.state.rows import GUEST_SHIFT, NOWHERE, rows_of
from eptreplay.model.vm import swap_candidates as candidates
from eptreplay.model.vm.conservation import HOLDS, LAWS, check_instances
from eptreplay.model.vm.swap_candidates import CANDIDATE, list_candidates, note_positions
from eptreplay.model.vm.vm_limits import HostMemory
from eptreplay.profiles import resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.rows.batch import RowBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

READ, WRITE, FETCH = 0, 1, 2
PAGE_BYTES = 4096
FLAGS = {
    "resident": candidates.RESIDENT,
    "dirty": candidates.DIRTY,
    "used": candidates.USED,
    "wired": candidates.WIRED,
    "held": candidates.HELD,
    "mapped": candidates.MAPPED,
    "superpage": candidates.SUPERPAGE,
    "writeable": candidates.WRITEABLE,
    "copied": candidates.COPIED,
}


class SmallHost:
    """Guests of so many pages each on a host of so many frames, under one or several profiles."""

    def __init__(
        self,
        *profiles: str,
        frames: int | None = None,
        guests: Sequence[int] = (64,),
        vcpus: int = 1,
        bars: Sequence[tuple[int, int]] = (),
        **host: Any,  # noqa: ANN401 - fields of HostMemory
    ) -> None:
        memory = HostMemory(frames=frames, **host)
        self.guests = [
            GuestMemory(np.array([[0, pages]], np.int64), vcpus, np.array(bars, np.int64).reshape(-1, 2))
            for pages in guests
        ]
        self.bases = guest_bases(self.guests)
        self.replay = Replay([resolve(name) for name in profiles], self.guests, [memory] * len(profiles))

    def access(self, op: int, pages: Iterable[int], guest: int = 0, vcpu: int = 0) -> None:
        """Let a guest access pages, one after the other."""
        self._access(op, np.array(list(pages), np.uint64) + np.uint64(self.bases[guest]), guest, vcpu)

    def access_outside(self, op: int, pages: Iterable[int], guest: int = 0, vcpu: int = 0) -> None:
        """Let a guest access pages beyond its memory, one after the other."""
        nowhere = (np.uint64(guest) << GUEST_SHIFT | NOWHERE) >> np.uint64(12)
        self._access(op, np.array(list(pages), np.uint64) | nowhere, guest, vcpu)

    def _access(self, op: int, flat: NDArray[np.uint64], guest: int, vcpu: int) -> None:
        rows = len(flat)
        first_vcpu = sum(known.vcpus for known in self.guests[:guest])
        made = rows_of(
            flat * np.uint64(PAGE_BYTES),
            np.full(rows, op, np.uint8),
            np.full(rows, first_vcpu + vcpu if rows > 1 else 0, np.uint16),
            guest=np.full(rows, guest, np.uint8),
            row=np.arange(self.replay.rows, self.replay.rows + rows, dtype=np.int64),
        )
        if rows:
            self.replay.replay(RowBatch(rows, made), 0, rows)

    def scan(self) -> None:
        """Let the page daemon make an idle scan."""
        scan(self.replay.states)

    def broken_law(self) -> str:
        """Return the first law of conservation that is broken, empty if none is."""
        broken = int(check_instances(self.replay.states))
        return "" if broken == HOLDS else LAWS[broken]

    def out_of_memory(self) -> bool:
        """Return whether the page daemon could free nothing."""
        return bool(out_of_memory(self.replay.states))

    def count(self, name: str, guest: int = 0, profile: int = 0) -> int:
        """Return a counter of a guest."""
        return int(self.replay.states.cnt[name][profile, guest])

    def by_cause(self, name: str, cause: int, guest: int = 0, profile: int = 0) -> int:
        """Return a counter of a guest that is kept by cause."""
        return int(self.replay.states.cnt[name][profile, guest][cause].sum())

    def vm(self, name: str, profile: int = 0) -> int:
        """Return a count of the host."""
        return int(self.replay.states.vm[name][profile, 0])

    def pages(self, guest: int = 0, profile: int = 0) -> Any:  # noqa: ANN401 - a numpy structured array
        """Return what is known of every guest page: the fields of CANDIDATE, and one a flag."""
        found = records(self.guests[guest].pages, CANDIDATE)
        positions = np.zeros(self.replay.states.page.shape[1], np.int32)
        note_positions(self.replay.states, profile, positions)
        list_candidates(self.replay.states, profile, guest, positions, found)
        fields = ["position", "last_reference", "queue", "act_count"]
        pages = np.zeros(len(found), [(name, np.int64) for name in (*fields, *FLAGS)])
        for name in fields:
            pages[name] = found[name]
        for name, flag in FLAGS.items():
            pages[name] = (found["flags"] & flag) != 0
        return pages

    def run(self, vcpu: int, hostcpu: int | None = None, guest: int = 0) -> bool:
        """Let a vCPU run on a host CPU, that of its number unless told otherwise."""
        first = sum(known.vcpus for known in self.guests[:guest])
        return vcpu_run(self.replay.states, guest, first + vcpu, vcpu if hostcpu is None else hostcpu)

    def stop(self, vcpu: int, guest: int = 0) -> bool:
        """Halt a vCPU."""
        first = sum(known.vcpus for known in self.guests[:guest])
        return vcpu_stop(self.replay.states, guest, first + vcpu)
