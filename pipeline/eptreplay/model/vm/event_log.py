"""A log of what the host did, event by event, for tests, comparisons and debugging.

Nothing is logged unless `State.log` has room; words beyond its end are counted and dropped.  An event is its kind and two
numbers; the start of a scan is followed by the pages of both queues.
"""

from __future__ import annotations

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, PQ_INACTIVE, queue_head
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pages import PGA_REFERENCED, PGA_WRITEABLE
from eptreplay.model.state.state import State, account, instance, instances_in

LOG_ALLOCATE = 1  # flat guest page, free frames after it
LOG_SCAN = 2  # pass, free frames; then for both queues, active first: length, and LOG_PAGE_WORDS a page
LOG_LAUNDER = 3  # first flat guest page, pages
LOG_FREE = 4  # flat guest page, 1 if it has a copy in swap
LOG_SWAP_IN = 5  # flat guest page, 0
LOG_ZERO_FILL = 6  # flat guest page, 0
LOG_SOFT_FAULT = 7  # flat guest page, 0
LOG_FRAME = 8  # frame of a page that was just allocated, 3 x reservations broken for it + how: 0 alone, 1 from a reservation, 2 from a new one

LOG_PAGE_WORDS = (
    7  # flat guest page, act_count, dirty, seen_once, referenced and writeable flag, copy in swap
)


@kernel
def _word(st: State, value: Int) -> None:
    """Append one word."""
    used = st.vm[0].log_used
    if used < len(st.log):
        st.log[used] = value
    st.vm[0].log_used += 1


@kernel
def log_event(st: State, kind: Int, first: Int, second: Int) -> None:
    """Append one event."""
    if len(st.log) != 0:
        _word(st, kind)
        _word(st, first)
        _word(st, second)


@kernel
def log_frame(st: State, m: Int, reservations: Int, reserved: Int, broken: Int) -> None:
    """Append how a page got its frame, from what these counters were before it."""
    if len(st.log) != 0:
        cnt = account(st)
        how = cnt.pages_reserved - reserved + cnt.reservations - reservations
        log_event(st, LOG_FRAME, m, 3 * (cnt.reservations_broken - broken) + how)


@kernel
def log_scan(st: State, number: Int) -> None:
    """Append the start of a scan of the page daemon: its pass, free frames, and both queues, head first."""
    if len(st.log) != 0:
        log_event(st, LOG_SCAN, number, st.vm[0].v_free_count)
        log_queue(st, PQ_ACTIVE)
        log_queue(st, PQ_INACTIVE)


@kernel
def log_queue(st: State, queue: Int) -> None:
    """Append a queue: its length, and its pages, head first."""
    head = queue_head(st, queue)
    _word(st, st.vm[0].v_active_count if queue == PQ_ACTIVE else st.vm[0].v_inactive_count)
    m = st.pageq[head].q_next
    while m != head:
        flat = st.page[m].pindex
        _word(st, flat)
        _word(st, st.pageq[m].act_count)
        _word(st, st.page[m].dirty)
        _word(st, st.pageq[m].seen_once)
        _word(st, 1 if (st.page[m].aflags & PGA_REFERENCED) != 0 else 0)
        _word(st, 1 if (st.page[m].aflags & PGA_WRITEABLE) != 0 else 0)
        _word(st, 1 if st.swblk[page_at(flat)] != 0 else 0)
        m = st.pageq[m].q_next


@entry_point
def log_queues(states: State, queue: Int) -> None:
    """Append a queue of every instance to its log."""
    for number in range(instances_in(states)):
        log_queue(instance(states, number), queue)
