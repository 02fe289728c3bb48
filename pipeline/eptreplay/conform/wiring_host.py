"""The host that recordings of wiring are replayed on: one guest, the frames of a small host, steps in, answers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.conform.frame_traces import reservation_counters
from eptreplay.conform.json_lines import whole_number
from eptreplay.errors import TraceError
from eptreplay.model.instances import GuestMemory, new_instances
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, PQ_INACTIVE
from eptreplay.model.pmap.pmap_range import MADV_DONTNEED, MADV_FREE
from eptreplay.model.recorded import wiring as recorded
from eptreplay.model.recorded.queue_hash import queue_entries
from eptreplay.model.state import pte
from eptreplay.model.vm import event_log as log
from eptreplay.model.vm.hypervisor import map_process
from eptreplay.model.vm.vm_limits import HostMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.conform.pageout import Recording
    from eptreplay.model.state.state import State

COUNTERS = (
    *(
        "swap_ins",
        "zero_fills",
        "laundered",
        "pageouts",
        "unswapped",
        "traps",
        "emulated",
        "vm_faults",
        "denied",
    ),
    *("promotions", "demotions", "p_failures", "pdpages", "pdwakeups"),
    *("new_reservations", "in_reservation", "singles", "freed", "reclaimed"),
)
_OF_GUEST = (
    *("swap_ins", "zero_fills", "laundered", "pageouts", "unswapped", "traps"),
    *("promotions", "demotions", "p_failures"),
)
NO_PAGE = (0, 1)
"""How a page that is not in memory is written: that it is not, and whether it has a copy in swap."""

_PBASE = 1 << 32
_MOST_FRAMES = 1 << 20
_MOST_PAGES = 1 << 20
_LOG_WORDS = 1 << 22
_QUEUES = {"active": PQ_ACTIVE, "inactive": PQ_INACTIVE}
_EVENTS = {log.LOG_ZERO_FILL: "zero_fill", log.LOG_SWAP_IN: "swap_in"}


class _Shape(NamedTuple):
    """A step: its code, whether it has a number of pages, and what its last word may be (an empty range: there is none)."""

    code: int
    pages: bool
    last: range


_STEPS = {
    "access": _Shape(recorded.ACCESS, False, range(3)),
    "access_run": _Shape(recorded.ACCESS, True, range(3)),
    "host_access": _Shape(recorded.HOST_ACCESS, False, range(2)),
    "wire": _Shape(recorded.WIRE, True, range(0)),
    "unwire": _Shape(recorded.UNWIRE, True, range(0)),
    "hold": _Shape(recorded.HOLD, False, range(1, 8)),
    "release": _Shape(recorded.RELEASE, False, range(0)),
    "advise": _Shape(recorded.ADVISE, True, range(MADV_DONTNEED, MADV_FREE + 1)),
    "protect": _Shape(recorded.PROTECT, True, range(8)),
    "unmap": _Shape(recorded.UNMAP, True, range(0)),
    "tick": _Shape(recorded.TICK, False, range(0)),
}


class Answer(NamedTuple):
    """What is known after a step.

    Args:
        rc: what it answered.
        page: facts of its first page.
        rest: free frames, lengths of the active and the inactive queue, their hashes.
    """

    rc: int
    page: list[int]
    rest: list[Any]

    @property
    def free(self) -> int:
        """Free frames."""
        return int(self.rest[0])


class WiringHost:
    """One guest on a small host."""

    def __init__(self, recording: Recording, *, host_process: bool, logs: bool) -> None:
        """Make the host that a recording begins with.

        Args:
            recording: its parameters.
            host_process: whether the hypervisor process maps the guest's memory.
            logs: whether what the host does is logged.
        """
        head, where = recording.head, str(recording.path)
        self.host_process = host_process
        self.kind = (
            whole_number(head["type"], 0, 2, where, "type"),
            whole_number(head["flags"], 0, 8, where, "flags"),
        )
        frames = whole_number(head["frames"], 1, _MOST_FRAMES, where, "frames")
        self.pages = whole_number(head["pages"], 1, _MOST_PAGES, where, "pages")
        guest = GuestMemory(np.array([[0, self.pages]], np.int64), 1)
        self.states: State = new_instances(
            np.array([self.kind[0]], np.int64),
            np.array([self.kind[1]], np.int64),
            [guest],
            [HostMemory(frames=frames, identity=False)],
            _PBASE,
            _LOG_WORDS if logs else 0,
        )
        self.tally = np.zeros(recorded.TALLIES, np.int64)
        if host_process:
            map_process(self.states, 0)

    def step(self, words: object, where: str) -> tuple[int, int, int, int]:
        """Return a step as run_wiring_steps takes it.

        Raises:
            TraceError: there is no such step.
        """
        if not isinstance(words, list) or not words or words[0] not in _STEPS:
            raise TraceError(where, f"the step is {str(words)[:60]}", expected=f"one of {', '.join(_STEPS)}")
        shape = _STEPS[words[0]]
        if shape.code == recorded.TICK:
            return shape.code, 0, 0, 0
        length = 3 + shape.pages + bool(shape.last)
        if len(words) != length:
            raise TraceError(where, f"the step is {str(words)[:60]}", expected=f"{length} words")
        whole_number(words[1], 0, 1, where, "the guest")
        page = whole_number(words[2], 0, self.pages, where, "the page")
        pages = whole_number(words[3], 1, self.pages - page + 1, where, "the pages") if shape.pages else 1
        last = (
            whole_number(words[-1], shape.last.start, shape.last.stop, where, "the last word")
            if shape.last
            else 0
        )
        return shape.code, page, pages, last

    def run(self, steps: Sequence[tuple[int, int, int, int]]) -> list[Answer]:
        """Carry out steps and return what is known after each."""
        asked = np.array(steps, np.int64).reshape(-1, 4)
        found = np.zeros((len(asked), recorded.ANSWERS), np.int64)
        hashes = np.zeros((len(asked), 2), np.uint64)
        with np.errstate(over="ignore"):
            recorded.run_wiring_steps(self.states, asked, found, hashes, self.tally)
        page = slice(recorded.PAGE, recorded.PAGE + recorded.PAGE_FACTS)
        return [
            Answer(row[recorded.RC], row[page], [*row[recorded.FREE :], f"{active:016x}", f"{inactive:016x}"])
            for row, (active, inactive) in zip(found.tolist(), hashes.tolist(), strict=True)
        ]

    def page_facts(self, answer: Answer) -> list[int]:
        """Return the facts of the first page of a step as a recording has them."""
        return answer.page if answer.page[0] else answer.page[: len(NO_PAGE)]

    def counters(self) -> dict[str, int]:
        """Return the counters as the recordings name them."""
        cnt, vm = self.states.cnt[0, 0], self.states.vm[0, 0]
        return {
            **{name: int(cnt[name]) for name in _OF_GUEST},
            **reservation_counters(cnt),
            "emulated": int(self.tally[recorded.TALLY_EMULATED]),
            "vm_faults": int(self.tally[recorded.TALLY_FAULTS]),
            "denied": int(self.tally[recorded.TALLY_DENIED]),
            "pdpages": int(vm["v_pdpages"]),
            "pdwakeups": int(vm["v_pdwakeups"]),
        }

    def queues(self) -> dict[str, list[list[int]]]:
        """Return both queues, head first, entries as the recordings have them."""
        return {name: self._queue(queue) for name, queue in _QUEUES.items()}

    def _queue(self, queue: int) -> list[list[int]]:
        entries = np.zeros((self.states.page.shape[1], 4), np.int64)
        length = int(queue_entries(self.states, 0, queue, entries))
        frames = self.states.object.frame[0, entries[:length, 0]].astype(np.int64) - 1
        referenced = (self.states.page.aflags[0, frames] & 2) != 0
        held = self.states.pageq.hold_count[0, frames]
        copies = self.states.swblk[0, entries[:length, 0]] != 0
        columns = (entries[:length], referenced[:, None], held[:, None], copies[:, None])
        return [[0, *row] for row in np.concatenate(columns, axis=1).astype(np.int64).tolist()]

    def forget_log(self) -> None:
        """Empty the log."""
        vm: Any = self.states.vm
        vm.log_used[:] = 0

    def events(self) -> list[list[Any]]:
        """Return what was logged, as the recordings name it."""
        used = int(self.states.vm[0, 0]["log_used"])
        words = [int(word) for word in self.states.log[0, :used]]
        found: list[list[Any]] = []
        at, page = 0, 0
        while at < used:
            kind, first, second = words[at : at + 3]
            at += 3
            if kind == log.LOG_SCAN:
                for _ in range(2):
                    at += 1 + words[at] * log.LOG_PAGE_WORDS
            elif kind == log.LOG_ALLOCATE:
                page = first
            elif kind == log.LOG_FRAME:
                found.append(["alloc", 0, page, first, second % 3, second // 3])
            elif kind == log.LOG_LAUNDER:
                found.append(["launder", 0, first, second])
            elif kind in _EVENTS:
                found.append([_EVENTS[kind], 0, first])
        return found

    def entry(self, page: int) -> str:
        """Return what maps a page of the guest, with its bits named."""
        found = np.zeros(2, np.uint64)
        recorded.page_entry(self.states, page, found)
        level, raw = int(found[0]), int(found[1])
        return f"{raw:#018x} level {level} {' '.join(pte.names(raw, *self.kind, level))}" if level else "none"
