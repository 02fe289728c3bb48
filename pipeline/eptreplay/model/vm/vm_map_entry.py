"""The entries of a guest's address space: which of its pages are memory, which are a device's, and with which rights.

bhyve makes two kinds of map entry in a guest's vmspace:

* a segment of memory: an object of anonymous pages (OBJT_DEFAULT), with all rights;
* a BAR of a device that was passed through: a list of physical addresses (OBJT_SG), to be read and written.
  Its pages are fictitious and not managed: they are on no pv list and no queue, are never paged out, belong to no
  reservation, and are not wired with the guest's memory.

`State.fast_path` says where memory is (NO_MEMORY), GUEST where BARs are.  What events change of an entry is kept per
page (OBJECT_PAGE.taken, .wired and .absent): a map entry is a run of pages that agree in these (entry_end), as the kernel splits
entries where an event begins or ends and joins neighbours that agree.  A page is named by its flat number: pages of memory
from GUEST.begin on, pages of BARs by numbers beyond all memory, one BAR after the other.

Source: vm_map.c vm_map_lookup_entry, vm_map_clip_start, vm_map_clip_end, vm_map_simplify_entry; amd64/vmm/vmm_mem.c
vmm_mem_alloc, vmm_mmio_alloc, FreeBSD 10.0.
"""

from __future__ import annotations

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.state.fast_path import NO_MEMORY
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pte import PAGE_SHIFT, VM_PROT_ALL, VM_PROT_READ, VM_PROT_WRITE
from eptreplay.model.state.state import State, instance

VM_PROT_RW = VM_PROT_READ | VM_PROT_WRITE

NO_BAR = -1


@kernel
def is_memory(states: State, flat: Int) -> bool:
    """Return whether a flat page is memory that its guest has now."""
    inside = 0 <= flat < len(states.fast_path) - 1
    return bool(
        inside
        and (states.fast_path[page_at(flat)] & NO_MEMORY) == 0
        and instance(states, 0).object[page_at(flat)].absent == 0
    )


@kernel
def bar_at(st: State, guest: Int, page: Int) -> Int:
    """Return the number of the BAR that has a guest page, NO_BAR if none has it or it is unmapped."""
    known = st.guests[guest]
    for bar in range(known.bars):
        offset = page - known.bar_page[bar]
        if 0 <= offset < known.bar_pages[bar]:
            return bar if st.object[page_at(known.bar_flat[bar] + offset)].absent == 0 else NO_BAR
    return NO_BAR


@kernel
def bar_of(st: State, guest: Int, flat: Int) -> Int:
    """Return the number of the BAR of a guest that a flat page belongs to, NO_BAR if to none."""
    known = st.guests[guest]
    for bar in range(known.bars):
        if 0 <= flat - known.bar_flat[bar] < known.bar_pages[bar]:
            return bar
    return NO_BAR


@kernel
def address_of(st: State, guest: Int, flat: Int) -> np.uint64:
    """Return the guest-physical address of a flat page of a guest."""
    bar = bar_of(st, guest, flat)
    known = st.guests[guest]
    page = flat - known.begin if bar == NO_BAR else known.bar_page[bar] + flat - known.bar_flat[bar]
    return np.uint64(page) << PAGE_SHIFT


@kernel
def max_protection(bar: Int) -> Int:
    """Return the rights that an entry can give: a BAR's, or that of memory (NO_BAR)."""
    return VM_PROT_ALL if bar == NO_BAR else VM_PROT_RW


@kernel
def is_mapped(states: State, bar: Int, flat: Int) -> bool:
    """Return whether there is a map entry for a flat page, of memory (NO_BAR) or of a BAR."""
    return bool(
        is_memory(states, flat) if bar == NO_BAR else instance(states, 0).object[page_at(flat)].absent == 0
    )


@kernel
def entry_end(st: State, flat: Int, end: Int) -> Int:
    """Return the flat page at which the map entry of a page ends, `end` at most."""
    first = st.object[page_at(flat)]
    after = flat + 1
    while after < end:
        known = st.object[page_at(after)]
        if known.taken != first.taken or (known.wired != 0) != (first.wired != 0):
            break
        after += 1
    return after


@entry_point
def pages_mapped(states: State, guest: Int, flat: Int, pages: Int) -> Int:
    """Return how many of `pages` flat pages of a guest, from the first on, have a map entry."""
    bar = bar_of(instance(states, 0), guest, flat)
    count: Int = 0
    while count < pages and is_mapped(states, bar, flat + count):
        count += 1
    return count


@kernel
def process_maps(st: State, guest: Int) -> bool:
    """Return whether the hypervisor process maps a guest's memory, too, so that its objects are not OBJ_ONEMAPPING."""
    return st.pmap[len(st.guests) + guest].pm_pml4 != 0
