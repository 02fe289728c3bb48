"""The two queues of pages that the page daemon works on: active and inactive.

A queue is a ring of pages through a head that is no page: the elements of `State.pageq` after the last page are
the heads, by PQ_* number, those of the lists of free runs (vm_phys.py), and the page daemon's marker.  Pages are in order of age,
the one to be looked at next first.  A page is on one queue or on none; on none while a fault handles it, while it is wired, and
while it is free.  Pages that were taken from their guest while they were held are on a third one, until they are released.

Source: vm_page.c vm_page_enqueue, vm_page_dequeue, vm_page_requeue, vm_page_activate, vm_page_deactivate;
vm_page.h ACT_*, FreeBSD 10.0.
"""

from __future__ import annotations

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.state.state import EXTRA_PAGES, VM_NFREEORDER, VM_NFREEPOOL, State

PQ_NONE = 0
PQ_INACTIVE = 1
PQ_ACTIVE = 2
PQ_HELD = 3  # not a queue of the page daemon: pages of no object that become free when they are released (PG_UNHOLDFREE)

ACT_DECLINE = 1  # what an unused page loses at every visit
ACT_ADVANCE = 3  # what a used page gains, beside its references
ACT_INIT = 5  # what a page that was just used has at least
ACT_MAX = 64  # the most that a page can reach by being used on the active queue


@kernel
def queue_head(st: State, queue: Int) -> Int:
    """Return the element that is the head of PQ_INACTIVE, PQ_ACTIVE or PQ_HELD."""
    return len(st.pageq) - EXTRA_PAGES + queue - PQ_INACTIVE


@kernel
def free_list(st: State, pool: Int, order: Int) -> Int:
    """Return the element that is the head of the list of free runs of a pool and an order."""
    return len(st.pageq) - EXTRA_PAGES + PQ_HELD + pool * VM_NFREEORDER + order


@kernel
def marker(st: State) -> Int:
    """Return the element that marks how far the page daemon has come in a queue."""
    return len(st.pageq) - 1


@kernel
def vm_pagequeues_init(st: State) -> None:
    """Make the queues and the lists of free runs empty."""
    first = queue_head(st, PQ_INACTIVE)
    for head in range(first, free_list(st, VM_NFREEPOOL, 0)):
        st.pageq[head].q_next = head
        st.pageq[head].q_prev = head


@kernel
def insert_after(st: State, before: Int, m: Int) -> None:
    """Insert an element that is on no queue after another."""
    after = st.pageq[before].q_next
    st.pageq[m].q_prev = before
    st.pageq[m].q_next = after
    st.pageq[before].q_next = m
    st.pageq[after].q_prev = m


@kernel
def remove(st: State, m: Int) -> None:
    """Take an element out of the queue that it is on."""
    before, after = st.pageq[m].q_prev, st.pageq[m].q_next
    st.pageq[before].q_next = after
    st.pageq[after].q_prev = before


@kernel
def _count(st: State, queue: Int, change: Int) -> None:
    """Add to the number of pages on a queue."""
    if queue == PQ_ACTIVE:
        st.vm[0].v_active_count += change
    elif queue == PQ_INACTIVE:
        st.vm[0].v_inactive_count += change


@kernel
def vm_page_dequeue(st: State, m: Int) -> None:
    """Take a page off its queue, if it is on one."""
    queue = st.pageq[m].queue
    if queue != PQ_NONE:
        remove(st, m)
        st.pageq[m].queue = PQ_NONE
        _count(st, queue, -1)


@kernel
def vm_page_enqueue(st: State, queue: Int, m: Int) -> None:
    """Put a page at the tail of a queue, whatever queue it was on."""
    vm_page_dequeue(st, m)
    insert_after(st, st.pageq[queue_head(st, queue)].q_prev, m)
    st.pageq[m].queue = queue
    _count(st, queue, 1)


@kernel
def vm_page_activate(st: State, m: Int) -> None:
    """Put a page that was just used, and is not on the active queue, at its tail; a wired one stays as it is, on no queue."""
    if st.vm[0].page_daemon != 0 and st.pageq[m].wire_count == 0:
        st.pageq[m].act_count = max(st.pageq[m].act_count, ACT_INIT)
        vm_page_enqueue(st, PQ_ACTIVE, m)


@kernel
def note_reference(st: State, m: Int) -> None:
    """Note that a page is used now, so that it can be told later how long it was not."""
    if st.vm[0].page_daemon != 0:
        st.pageq[m].last_reference = st.vm[0].scans_idle


@kernel
def vm_page_xbusy(st: State, m: Int) -> None:
    """Mark a page that a fault handles: it is not to be written to swap now."""
    if st.vm[0].page_daemon != 0:
        st.pageq[m].busy = 1


@kernel
def vm_page_is_new(st: State, m: Int) -> None:
    """Mark a page that a fault has just taken as new to every queue."""
    if st.vm[0].page_daemon != 0:
        st.pageq[m].act_count = 0
        st.pageq[m].seen_once = 0


@kernel
def vm_page_xunbusy(st: State, m: Int) -> None:
    """Mark that the fault has ended, see vm_page_xbusy."""
    if st.vm[0].page_daemon != 0:
        st.pageq[m].busy = 0


@kernel
def vm_page_deactivate(st: State, m: Int) -> None:
    """Put a page at the tail of the inactive queue; if it is dirty, it will be passed over once."""
    st.pageq[m].seen_once = 0
    vm_page_enqueue(st, PQ_INACTIVE, m)


@kernel
def vm_page_deactivate_next(st: State, m: Int) -> None:
    """Put a page at the head of the inactive queue: it is looked at next (_vm_page_deactivate with athead)."""
    vm_page_deactivate(st, m)
    remove(st, m)
    insert_after(st, queue_head(st, PQ_INACTIVE), m)
