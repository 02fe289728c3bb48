"""The page daemon: which pages leave memory when frames get scarce, and in what order.

Pages that were used go to the tail of the active queue.  Scans of that queue decrease the act_count of unused pages; at 0 a
page becomes inactive.  Scans of the inactive queue return used pages to the active queue and free clean ones.  They pass over a
dirty page the first time, and write it to swap the next time, in clusters with its neighbours.

The daemon runs to its end inside the allocation that woke it.  A scan of pass 0 is an idle scan: it ages the active queue
though no frame is missing.

Source: vm_pageout.c vm_pageout_worker, vm_pageout_scan, vm_pageout_clean, vm_pageout_flush;
vm_page.c vm_page_cache, vm_page_try_to_cache, vm_page_test_dirty, FreeBSD 10.0.
"""

from __future__ import annotations

from eptreplay.compiled import kernel, part
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_page import vm_page_dirty, vm_page_free
from eptreplay.model.page.vm_pagequeue import (
    ACT_ADVANCE,
    ACT_DECLINE,
    ACT_MAX,
    PQ_ACTIVE,
    PQ_INACTIVE,
    insert_after,
    marker,
    note_reference,
    queue_head,
    remove,
    vm_page_activate,
    vm_page_deactivate,
    vm_page_dequeue,
    vm_page_enqueue,
)
from eptreplay.model.page.vm_reserv import vm_phys_free
from eptreplay.model.pmap.invalidate import CAUSE_AGING, CAUSE_PAGE_DAEMON
from eptreplay.model.pmap.pmap_page import (
    pmap_is_modified,
    pmap_remove_all,
    pmap_remove_write,
    pmap_ts_referenced,
)
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pages import PGA_REFERENCED
from eptreplay.model.state.state import State, account
from eptreplay.model.vm.event_log import LOG_FREE, LOG_LAUNDER, log_event, log_scan
from eptreplay.model.vm.vm_object import NOT_RESIDENT, guest_of, swap_out, vm_page_lookup, vm_page_remove

MAX_LAUNDER = 32  # clusters that the first pass may write (vm_max_launder)
MAX_LAUNDER_LATER = 10000  # and every later one
MOST_PASSES = 1000  # scans after which a run is given up: out of memory


@kernel
def vm_pageout(st: State) -> None:
    """Run the page daemon until enough frames are free."""
    host, vm = st.host[0], st.vm[0]
    guest, cause = host.guest, host.cause
    host.cause = CAUSE_PAGE_DAEMON
    vm.vm_pages_needed = 1
    number: Int = 0
    while vm.vm_pages_needed != 0:
        number += 1
        if number > MOST_PASSES:
            vm.out_of_memory = 1
            vm.vm_pages_needed = 0
            break
        vm.v_pdwakeups += 1
        vm_pageout_scan(st, number)
        if vm.v_free_count >= vm.v_free_min and vm.v_free_count >= vm.vm_pageout_wakeup_thresh:
            vm.vm_pages_needed = 0
    vm.woken = 0
    host.guest, host.cause = guest, cause


@kernel
def vm_pageout_if_woken(st: State) -> None:
    """Run the page daemon if pages of the kernel's own that were taken have woken it (VM.woken)."""
    if st.vm[0].woken != 0:
        vm_pageout(st)


@kernel
def vm_pageout_idle(st: State) -> None:
    """Make an idle scan, which ages pages though no frame is missing (pass 0)."""
    host = st.host[0]
    guest, cause = host.guest, host.cause
    host.cause = CAUSE_AGING
    vm_pageout_scan(st, 0)
    st.vm[0].woken = 0  # by what the daemon itself took
    host.guest, host.cause = guest, cause


@part
def vm_pageout_scan(st: State, number: Int) -> None:
    """Make one pass over the inactive queue, as far as frames are missing, and one over the active queue."""
    vm = st.vm[0]
    log_scan(st, number)
    vm.scans += 1
    vm.scans_idle += 1 if number == 0 else 0
    vm.scans_pass1 += 1 if number == 1 else 0
    vm.scans_pass2up += 1 if number > 1 else 0
    vm.max_pass = max(vm.max_pass, number)
    stuck = _scan_inactive(st, number)
    _scan_active(st, number, stuck)


@part
def _references(st: State, m: Int) -> Int:
    """Return how often a page was used since the last call, and clear that."""
    count: Int = 0
    if (st.page[m].aflags & PGA_REFERENCED) != 0:
        st.page[m].aflags &= ~PGA_REFERENCED
        count = 1
    count += pmap_ts_referenced(st, m)
    if count != 0:
        note_reference(st, m)
    return count


@part
def _scan_inactive(st: State, number: Int) -> Int:
    """Free or launder inactive pages until the target is met; return how many were found stuck.

    A page that was used is activated, also one that is held.  Any other that is held is stuck: it counts as one that is missing for
    the scan of the active queue (recordings of wiring, docs/conformance.md).

    The page that is looked at next is the one after the marker, which is inserted after a page before that page is
    handled: the page may leave the queue, and others with it.
    """
    vm = st.vm[0]
    shortage = vm.v_free_target - vm.v_free_count
    launder_left = MAX_LAUNDER_LATER if number > 1 else MAX_LAUNDER
    budget = vm.v_inactive_count
    stuck = 0
    mark = marker(st)
    head = queue_head(st, PQ_INACTIVE)
    m = st.pageq[head].q_next
    while m != head and budget > 0 and shortage > 0:
        budget -= 1
        vm.v_pdpages += 1
        insert_after(st, m, mark)
        st.host[0].guest = guest_of(st, st.page[m].pindex)
        references = _references(st, m)
        if references > 0:
            vm_page_activate(st, m)
            st.pageq[m].act_count += references + ACT_ADVANCE
            account(st).reactivated += 1
        elif st.pageq[m].hold_count != 0:
            stuck += 1
        elif not _test_dirty(st, m):
            pmap_remove_all(st, m)
            vm_page_cache(st, m)
            shortage -= 1
        elif st.pageq[m].seen_once == 0 and number < 2:
            st.pageq[m].seen_once = 1
            vm_page_enqueue(st, PQ_INACTIVE, m)
        elif launder_left > 0:
            vm_pageout_clean(st, m)
            shortage -= 1
            launder_left -= 1
        m = st.pageq[mark].q_next
        remove(st, mark)
    return stuck


@kernel
def _scan_active(st: State, number: Int, stuck: Int) -> None:
    """Age active pages: the act_count of used ones grows, that of unused ones shrinks, and at 0 they become inactive."""
    vm = st.vm[0]
    budget = vm.v_active_count
    shortage = vm.v_free_target - vm.v_free_count + vm.v_inactive_target - vm.v_inactive_count + stuck
    if number == 0:
        budget //= vm.vm_pageout_update_period
        shortage = budget
    head = queue_head(st, PQ_ACTIVE)
    m = st.pageq[head].q_next
    while m != head and budget > 0 and shortage > 0:
        following = st.pageq[m].q_next
        budget -= 1
        vm.v_pdpages += 1
        st.host[0].guest = guest_of(st, st.page[m].pindex)
        page = st.pageq[m]
        references = _references(st, m)
        if references > 0:
            page.act_count = min(ACT_MAX, page.act_count + ACT_ADVANCE + references)
        else:
            page.act_count -= min(page.act_count, ACT_DECLINE)
        if references == 0 and page.act_count == 0:
            vm_page_deactivate(st, m)
            shortage -= 1
            account(st).deactivated += 1
        else:
            vm_page_enqueue(st, PQ_ACTIVE, m)
        m = following


@kernel
def _test_dirty(st: State, m: Int) -> bool:
    """Return whether a page is dirty, by its own field or by a mapping (vm_page_test_dirty)."""
    if st.page[m].dirty == 0 and pmap_is_modified(st, m):
        vm_page_dirty(st, m)
    return st.page[m].dirty != 0


@kernel
def vm_page_cache(st: State, m: Int) -> None:
    """Free an unmapped clean page; a copy in swap stays.  The cache keeps nothing: the frame is free at once."""
    vm = st.vm[0]
    flat = st.page[m].pindex
    copied = st.swblk[page_at(flat)] != 0
    if copied:
        account(st).cached += 1
    else:
        account(st).freed_clean += 1
    vm_page_dequeue(st, m)
    vm_page_remove(st, m)
    vm_page_free(st, m)
    vm_phys_free(st, m, flat)
    vm.v_tfree += 1
    log_event(st, LOG_FREE, flat, 1 if copied else 0)


@kernel
def _joins(st: State, flat: Int) -> bool:
    """Return whether a guest page can be written to swap together with its neighbour."""
    m = vm_page_lookup(st, flat)
    if m == NOT_RESIDENT or st.pageq[m].busy != 0:
        return False
    dirty = _test_dirty(st, m)
    return dirty and st.pageq[m].queue == PQ_INACTIVE and st.pageq[m].hold_count == 0


@part
def vm_pageout_clean(st: State, m: Int) -> None:
    """Write a dirty page to swap, and dirty inactive neighbours with it.

    The cluster grows backwards to a multiple of the most pages it may have, then forwards, and backwards again
    if it may have more.
    """
    most = st.vm[0].vm_pageout_page_count
    guest = st.guests[guest_of(st, st.page[m].pindex)]
    first = st.page[m].pindex
    last = first
    backwards = True
    while True:
        while backwards and last - first + 1 < most:
            if first == guest.begin or not _joins(st, first - 1):
                backwards = False
            else:
                first -= 1
                if (first - guest.begin) % most == 0:
                    break
        while last - first + 1 < most and last + 1 < guest.end and _joins(st, last + 1):
            last += 1
        if not backwards or last - first + 1 >= most:
            break
    vm_pageout_flush(st, first, last)


@part
def vm_pageout_flush(st: State, first: Int, last: Int) -> None:
    """Write the resident guest pages `first` to `last`, flat numbers, to swap in one go."""
    vm, cnt = st.vm[0], account(st)
    for flat in range(first, last + 1):
        pmap_remove_write(st, vm_page_lookup(st, flat))
    for flat in range(first, last + 1):
        swap_out(st, flat)
        st.page[vm_page_lookup(st, flat)].dirty = 0
    cnt.pageouts += 1
    cnt.laundered += last - first + 1
    vm.clusters[last - first] += 1
    log_event(st, LOG_LAUNDER, first, last - first + 1)
    for flat in range(first, last + 1):
        if vm.v_free_count < vm.v_free_severe:
            _try_to_cache(st, vm_page_lookup(st, flat))


@part
def _try_to_cache(st: State, m: Int) -> None:
    """Free a page that was just written to swap, since frames are very scarce (vm_page_try_to_cache)."""
    account(st).try_to_cache += 1
    if st.pageq[m].hold_count != 0 or st.pageq[m].wire_count != 0:
        return
    pmap_remove_all(st, m)
    if st.page[m].dirty == 0:
        vm_page_cache(st, m)
