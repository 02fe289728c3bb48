"""Memory that a guest gave back: pages that were unmapped, and pages whose contents it gave up (advise free).

What is gone need not be migrated and cannot be reclaimed.  A page is in use again when it is accessed again, and has to be
migrated again when it is written again, since it has new contents then.  Advice that a page is not needed soon (advise
dontneed) gives nothing back.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.analysis.history import BEFORE_ALL, FOREVER, NEVER, Gone
from eptreplay.ingest.trace.schema import Event
from eptreplay.model.pmap.pmap_range import MADV_FREE
from eptreplay.model.state.fast_path import NO_OP
from eptreplay.model.statistics.intervals import WRITTEN_AGAIN
from eptreplay.replay.found.given_back import GivenBackPages

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.model.state.state import State
    from eptreplay.model.statistics.intervals import IntervalStatistics
    from eptreplay.replay.rows.event import HostEvent

PAGE_SHIFT = 12
LOW_BITS = (1 << PAGE_SHIFT) - 1
REGION_SHIFT = 9
FIRST = 2
"""What is added to the interval of a loss, so that 0 stands for none."""


class Loss(NamedTuple):
    """The time from when a page was given back to when it was written again, in intervals; NEVER, FOREVER: there is none.

    Args:
        page: page of the guest.
        before: when it was written the last time before.
        lost: when it was given back.
        again: when it was written the next time.
        region_before: when its 2 MB region was written the last time before.
    """

    page: int
    before: int
    lost: int
    again: int
    region_before: int


@dataclass(slots=True)
class GivenBack:
    """Keeps track of what one guest gives back while its trace is replayed."""

    first_page: int
    """Flat number of the guest's page 0."""
    size: int
    """Pages from its address 0 to the end of its memory."""
    _lost: NDArray[np.int32] = field(init=False)
    """FIRST + interval of a loss after which the page was not written; 0: there is none."""
    _before: NDArray[np.int32] = field(init=False)
    """1 + interval of the write before that, 0: none."""
    _region_before: NDArray[np.int32] = field(init=False)
    _changed: NDArray[np.bool_] = field(init=False)
    _absent: NDArray[np.bool_] = field(init=False)
    _freed: NDArray[np.bool_] = field(init=False)
    """Whether the last loss was advice, not an unmapping."""
    _initial: NDArray[np.bool_] = field(init=False)
    _first_row: NDArray[np.int64] = field(init=False)
    _any: bool = False
    _over: list[Loss] = field(default_factory=list)
    _region_writes: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Begin with a guest that has all of its memory; these arrays take memory only where they are written."""
        self._lost, self._before, self._region_before = (np.zeros(self.size, np.int32) for _ in range(3))
        self._changed, self._absent, self._freed, self._initial = (
            np.zeros(self.size, bool) for _ in range(4)
        )
        self._first_row = np.zeros(self.size, np.int64)

    def note(self, event: HostEvent, pages: range, statistics: IntervalStatistics, states: State) -> None:
        """Take note of an event that was carried out.

        Args:
            event: an event of any kind.
            pages: flat numbers of the pages of memory that it was carried out on.
            statistics: of all guests: what is gone counts as not accessed, and not written.
            states: the instances: the next access to a page that is gone is made by the models, so that it is noticed.
        """
        tally = statistics.tally[event.guest]
        first = tally.reads + tally.writes + tally.fetches + tally.unbacked == 0
        flat = np.array(pages, np.int64)
        if event.kind is Event.MAP:
            self._absent[flat - self.first_page] = False
            if first:
                self._initial[flat - self.first_page] = False
        if event.kind is Event.UNMAP:
            self._absent[flat - self.first_page] = True
        elif event.kind is Event.ADVISE and event.arg & LOW_BITS == MADV_FREE:
            if _process_maps(states, event.guest):
                return
            flat = flat[~_is_kept(states, flat)]
        else:
            return
        self._any = True
        own = flat - self.first_page
        self._freed[own] = event.kind is Event.ADVISE
        if first:
            self._initial[own] = True
        self._lose(flat, statistics, BEFORE_ALL if first else int(tally.interval))
        states.fast_path[flat] &= ~NO_OP

    def _lose(self, flat: NDArray[np.int64], statistics: IntervalStatistics, interval: int) -> None:
        """Record that pages are gone."""
        own = flat - self.first_page
        again = (statistics.unharvested[flat] & WRITTEN_AGAIN) != 0
        for page in own[(self._lost[own] != 0) & again].tolist():
            self._end(page, interval)
        self._lost[own] = np.where(self._lost[own] == 0, interval + FIRST, self._lost[own])
        self._changed[own] = True
        self._first_row[own] = np.where(
            self._first_row[own] == 0, statistics.first_row[flat], self._first_row[own]
        )
        statistics.first_row[flat] = 0
        statistics.unharvested[flat] = 0

    def _end(self, page: int, interval: int) -> None:
        """End a loss: the page was written again in an interval."""
        loss = self._loss(page, interval)
        if interval > loss.lost:
            self._over.append(loss)
        self._lost[page] = 0

    def _loss(self, page: int, again: int) -> Loss:
        """Return the loss of a page, with the interval in which it was written again."""
        before, region_before = int(self._before[page]) - 1, int(self._region_before[page]) - 1
        return Loss(page, before, int(self._lost[page]) - FIRST, again, region_before)

    def close(self, statistics: IntervalStatistics, interval: int) -> None:
        """Record what was written in an interval that was just closed; the interval statistics are those of it."""
        lost = np.flatnonzero(self._lost) if self._any else np.zeros(0, np.int64)
        if not len(lost):
            return
        flat = lost + self.first_page
        regions = flat >> REGION_SHIFT
        fresh = self._lost[lost] == interval + FIRST
        self._before[lost[fresh]] = statistics.touch.last_write[flat[fresh]]
        self._region_before[lost[fresh]] = statistics.region.last_write[regions[fresh]]
        written = statistics.region.last_write[regions] == interval + 1
        for region in np.unique(regions[written]).tolist():
            self._region_writes[region].append(interval)
        for page in lost[(statistics.unharvested[flat] & WRITTEN_AGAIN) != 0].tolist():
            self._end(page, interval)

    def found(self, statistics: IntervalStatistics) -> GivenBackPages | None:
        """Return what was given back, None if nothing was; the trace is over and its last interval closed."""
        if not self._any:
            return None
        flat = slice(self.first_page, self.first_page + self.size)
        losses = [*self._over, *(self._loss(page, FOREVER) for page in np.flatnonzero(self._lost).tolist())]
        gone = self._changed & (statistics.first_row[flat] == 0)
        return GivenBackPages(
            gone=gone,
            freed=gone & self._freed & ~self._absent & (self._first_row != 0),
            changed=self._changed,
            written=(statistics.unharvested[flat] & WRITTEN_AGAIN) != 0,
            first_row=self._first_row,
            absent=self._absent,
            initial=int(self._initial.sum()),
            pages=self._of_pages(losses, statistics),
            regions=self._of_regions(losses, statistics),
        )

    def _of_pages(self, losses: list[Loss], statistics: IntervalStatistics) -> Gone:
        """Return the losses for what counts pages."""
        page = np.array([loss.page for loss in losses], np.int64) + self.first_page
        touch: Any = statistics.touch[page]
        return _gone(
            [(loss.before, loss.lost, loss.again) for loss in losses],
            touch.first_write.astype(np.int64) - 1,
            self._last(losses, touch.last_write.astype(np.int64) - 1),
        )

    def _of_regions(self, losses: list[Loss], statistics: IntervalStatistics) -> Gone:
        """Return the losses for what counts regions: from write to write of a page's region, while the page is gone."""
        steps: list[tuple[int, int, int]] = []
        of: list[int] = []
        for number, loss in enumerate(losses):
            writes = self._region_writes.get((loss.page + self.first_page) >> REGION_SHIFT, [])
            times = [t for t in writes if t >= loss.lost and (loss.again == FOREVER or t < loss.again)]
            times = sorted({loss.region_before, *times})
            steps += [
                (time, max(time, loss.lost), after)
                for time, after in zip(times, [*times[1:], loss.again], strict=True)
            ]
            of += [number] * len(times)
        page = np.array([losses[number].page for number in of], np.int64) + self.first_page
        region = statistics.region[page >> REGION_SHIFT]
        last = self._last(losses, np.zeros(len(losses), np.int64))[of]
        return _gone(
            steps,
            region.first_write.astype(np.int64) - 1,
            np.where(last == NEVER, NEVER, region.last_write.astype(np.int64) - 1),
        )

    @staticmethod
    def _last(losses: list[Loss], last: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the last writes of pages; NEVER for a loss before all writes of a page that is gone at the end, too.

        Where the trace is repeated, the loss at the end of the round before is the one that counts.
        """
        for_ever = {loss.page for loss in losses if loss.again == FOREVER}
        twice = [loss.before == NEVER and loss.again != FOREVER and loss.page in for_ever for loss in losses]
        return np.where(twice, NEVER, last)


def _process_maps(states: State, guest: int) -> bool:
    """Return whether the hypervisor process maps the guest's memory, too: free advice gives nothing up then."""
    return bool(states.pmap.pm_pml4[0, states.guests.shape[1] + guest] != 0)


def _is_kept(states: State, flat: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which flat pages are wired or held: advice does not concern them."""
    m = states.object.frame[0, flat].astype(np.int64) - 1
    known = states.pageq[0, m]
    kept: NDArray[np.bool_] = (m >= 0) & ((known.wire_count != 0) | (known.hold_count != 0))
    return kept


def _gone(steps: list[tuple[int, int, int]], first: NDArray[np.int64], last: NDArray[np.int64]) -> Gone:
    """Return losses as columns; equal ones are counted as one row."""
    rows = np.column_stack([np.array(steps, np.int64).reshape(-1, 3), first, last])
    alike, pages = np.unique(rows, axis=0, return_counts=True)
    return Gone._make([*alike.T, pages])
