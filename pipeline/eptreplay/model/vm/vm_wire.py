"""Wiring of guest memory: pages that must stay, entered with mappings that must stay.

A map entry is wired by the user or not (MAP_ENTRY_USER_WIRED): wiring what is wired already does nothing, and one unwiring is enough.
Wiring faults in page by page, for no access in particular; as the entry is wired, that becomes every right of it.  The page
leaves its queue, and its act_count stays; neither its dirty field nor its copy in swap is touched.

Source: vm_map.c vm_map_wire, vm_map_unwire, vm_map_entry_unwire; vm_fault.c vm_fault_wire, vm_fault_unwire; vm_page.c
vm_page_wire, vm_page_unwire, FreeBSD 10.0.  Proven by recordings of wiring (docs/conformance.md, rules 1 to 3), but for a range
that cannot be wired as a whole.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, vm_page_dequeue, vm_page_enqueue
from eptreplay.model.pmap.invalidate import CAUSE_WIRING
from eptreplay.model.pmap.pmap import pmap_extract
from eptreplay.model.pmap.pmap_enter import pmap_enter
from eptreplay.model.pmap.pmap_unwire import unwire_page
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import EMPTY, VM_PROT_ALL, VM_PROT_EXECUTE, VM_PROT_READ
from eptreplay.model.state.state import State, account, instances_in
from eptreplay.model.vm.answers import NOT_ALLOWED, NOT_MEMORY, NOT_WIRED, OK, begin_event
from eptreplay.model.vm.vm_fault import vm_fault_entered, vm_fault_page
from eptreplay.model.vm.vm_map_entry import address_of, is_memory, pages_mapped
from eptreplay.model.vm.vm_object import NOT_RESIDENT, vm_page_lookup

NOT_WIRED_ENTRY = 0
WIRED = 1
WIRING = 2  # by a call that is not done yet


@entry_point
def vm_map_wire(states: State, guest: Int, flat: Int, pages: Int) -> Int:
    """Wire `pages` pages of a guest's memory from a flat one on: OK, or NOT_ALLOWED and none is wired.

    A page whose entry gives neither the right to read nor to execute cannot be wired; what the call wired before it is unwired.
    """
    if not is_memory(states, flat) or pages_mapped(states, guest, flat, pages) != pages:
        return NOT_MEMORY
    answer = OK
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_WIRING)
        end = flat
        while end < flat + pages and _wire_page(st, guest, end):
            end += 1
        known = WIRED if end == flat + pages else NOT_WIRED_ENTRY
        for page in range(flat, end):
            if st.object[page_at(page)].wired == WIRING:
                st.object[page_at(page)].wired = known
                if known == NOT_WIRED_ENTRY:
                    vm_fault_unwire(st, guest, page)
        if known == NOT_WIRED_ENTRY:
            answer = NOT_ALLOWED
    return answer


@kernel
def _wire_page(st: State, guest: Int, flat: Int) -> bool:
    """Wire one page, unless its entry is wired already; return whether it is wired then."""
    known = st.object[page_at(flat)]
    rights = VM_PROT_ALL & ~np.int64(known.taken)
    if (rights & (VM_PROT_READ | VM_PROT_EXECUTE)) == 0:
        return False
    if known.wired != NOT_WIRED_ENTRY:
        return True
    m = vm_fault_page(st, flat, 0)
    if m < 0:
        return False
    known.wired = WIRING
    pmap_enter(st, st.pmap[guest], address_of(st, guest, flat), rights, m, rights, True)
    vm_fault_entered(st, m)
    vm_page_wire(st, m)
    return True


@entry_point
def vm_map_unwire(states: State, guest: Int, flat: Int, pages: Int) -> Int:
    """Unwire `pages` pages of a guest's memory from a flat one on: OK, or NOT_WIRED if none of them was wired."""
    if not is_memory(states, flat) or pages_mapped(states, guest, flat, pages) != pages:
        return NOT_MEMORY
    answer = NOT_WIRED
    for number in range(instances_in(states)):
        st = begin_event(states, number, guest, CAUSE_WIRING)
        for page in range(flat, flat + pages):
            if st.object[page_at(page)].wired != NOT_WIRED_ENTRY:
                answer = OK
                st.object[page_at(page)].wired = NOT_WIRED_ENTRY
                vm_fault_unwire(st, guest, page)
    return answer


@kernel
def vm_fault_unwire(st: State, guest: Int, flat: Int) -> None:
    """Unwire the page that is mapped where a flat page belongs.  One whose mapping is gone is passed over: it stays wired for ever."""
    va = address_of(st, guest, flat)
    if pmap_extract(st, st.pmap[guest], va) == EMPTY:
        return
    m = vm_page_lookup(st, flat)
    unwire_page(st, st.pmap[guest], va)
    if m != NOT_RESIDENT and st.pageq[m].wire_count != 0:
        vm_page_unwire(st, m)


@kernel
def vm_page_wire(st: State, m: Int) -> None:
    """Give a page one more reason to stay; with the first it leaves its queue."""
    if st.pageq[m].wire_count == 0:
        vm_page_dequeue(st, m)
        st.vm[0].v_wire_count += 1
        account(st).v_wired += 1
    st.pageq[m].wire_count += 1


@kernel
def vm_page_unwire(st: State, m: Int) -> None:
    """Take one reason to stay from a page; with the last it goes to the active queue, with the act_count that it had."""
    st.pageq[m].wire_count -= 1
    if st.pageq[m].wire_count == 0:
        st.vm[0].v_wire_count -= 1
        account(st).v_wired -= 1
        if st.vm[0].page_daemon != 0:
            vm_page_enqueue(st, PQ_ACTIVE, m)


@kernel
def forget_wiring(st: State, begin: Int, end: Int) -> None:
    """Note that the map entry of the flat pages [begin, end) is not wired any more."""
    for flat in range(begin, end):
        st.object[page_at(flat)].wired = NOT_WIRED_ENTRY


@kernel
def unwire_for_ever(st: State, m: Int) -> None:
    """Take all reasons to stay from a page that is about to be freed, those that are left since its mapping was gone included."""
    if st.pageq[m].wire_count != 0:
        st.pageq[m].wire_count = 0
        st.vm[0].v_wire_count -= 1
        account(st).v_wired -= 1
