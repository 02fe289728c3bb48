"""Which frame a page gets, a guest's or the kernel's own: every frame that is taken or given back goes through here.

The first page of a block of 512 guest pages reserves a whole block of frames for its neighbours; only then can the 512 of them
become a superpage.  When no frame is free outside reservations, a reservation with free frames is broken up: the one
whose last use is longest ago.

A block of guest pages begins where the place of a page in it, (guest page + pg_color) mod 512, is 0.  The first fault in an object
decides its colour: a guest's own gives 0, and blocks begin at multiples of 512 guest pages.

The kernel's own pages are page-table pages and pv chunks.  They belong to no object, come from a pool of their own, and take frames
where they count (VM.page_tables_count).

With identity placement (`VM.identity`) there is no choice: a guest's pages have consecutive frames for good, and the kernel's have none.

Source: vm_reserv.c vm_reserv_alloc_page, vm_reserv_populate, vm_reserv_depopulate, vm_reserv_free_page, vm_reserv_break,
vm_reserv_reclaim_inactive; vm_page.c vm_page_alloc, vm_page_free_toq, vm_page_free_wakeup, FreeBSD 10.0.  Proven by recordings of
reservations (docs/conformance.md).
"""

from __future__ import annotations

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import PQ_HELD
from eptreplay.model.page.vm_phys import (
    BLOCK_ORDER,
    VM_FREEPOOL_DEFAULT,
    VM_FREEPOOL_DIRECT,
    vm_phys_alloc_pages,
    vm_phys_free_pages,
    vm_phys_freecnt_adj,
    vm_phys_init,
    vm_phys_set_pool,
)
from eptreplay.model.state.pte import NPTEPG
from eptreplay.model.state.state import EXTRA_RESERVATIONS, State, account

NO_FRAME = -1


@kernel
def vm_reserv_init(st: State, in_use: Int) -> None:
    """Make all frames of the host free, with no reservation; see vm_phys_init."""
    head = partpop_head(st)
    st.rv[head].rv_next = head
    st.rv[head].rv_prev = head
    for block in range(head):
        st.rv[block].singly = 1
    vm_phys_init(st, in_use)


@kernel
def partpop_head(st: State) -> Int:
    """Return the element that is the head of the queue of reservations with free frames."""
    return len(st.rv) - EXTRA_RESERVATIONS


@kernel
def _unlist(st: State, block: Int) -> None:
    """Take a reservation off the queue, if it is on it."""
    rv = st.rv[block]
    if rv.listed != 0:
        st.rv[rv.rv_prev].rv_next = rv.rv_next
        st.rv[rv.rv_next].rv_prev = rv.rv_prev
        rv.listed = 0


@kernel
def _list(st: State, block: Int) -> None:
    """Put a reservation that has free frames at the tail of the queue (vm_rvq_partpop)."""
    _unlist(st, block)
    head = partpop_head(st)
    last = st.rv[head].rv_prev
    st.rv[block].rv_prev = last
    st.rv[block].rv_next = head
    st.rv[last].rv_next = block
    st.rv[head].rv_prev = block
    st.rv[block].listed = 1


@kernel
def object_of(st: State, flat: Int) -> Int:
    """Return the number of the vm_object that a flat page of memory belongs to."""
    number: Int = 0
    while st.objects[number].end <= flat:
        number += 1
    return number


@kernel
def vm_object_color(st: State, flat: Int, color: Int) -> None:
    """Note a fault on a flat page that is not in memory: the first one decides the colour of its object (vm_fault, OBJ_COLORED)."""
    known = st.objects[object_of(st, flat)]
    if known.colored == 0:
        known.colored = 1
        known.pg_color = color


@kernel
def _block_and_place(st: State, flat: Int) -> tuple[Int, Int]:
    """Return the block (State.blocks) of a flat page and its place in it; -1 for a block that begins before its object does.

    Where an object ends does not matter: no other object has pages in its last block.
    """
    known = st.objects[object_of(st, flat)]
    colored = flat + known.pg_color
    place = colored % NPTEPG
    if flat - place < known.begin:
        return -1, place
    return known.first_block + colored // NPTEPG - known.begin // NPTEPG, place


@kernel
def vm_reserv_alloc_page(st: State, flat: Int) -> Int:
    """Return a frame of a reservation for a flat guest page, NO_FRAME if none can serve it.

    A block that has pages in single frames gets no reservation.
    """
    number, place = _block_and_place(st, flat)
    if number < 0:
        return NO_FRAME
    guest_block = st.blocks[number]
    if guest_block.reservation == 0:
        frame: Int = NO_FRAME
        if guest_block.singles == 0:
            frame = vm_phys_alloc_pages(st, VM_FREEPOOL_DEFAULT, BLOCK_ORDER)
        if frame < 0:
            account(st).reservations_refused += 1
            return NO_FRAME
        block = frame // NPTEPG
        st.rv[block].object_block = number + 1
        st.rv[block].singly = 0
        guest_block.reservation = block + 1
        account(st).reservations += 1
    block = guest_block.reservation - 1
    m = block * NPTEPG + place
    if st.page[m].allocated != 0:
        return NO_FRAME  # taken from the object while it was held, and not released yet
    _unlist(st, block)
    if st.reserv[block] + 1 < NPTEPG:
        _list(st, block)
    account(st).pages_reserved += 1
    return m


@kernel
def vm_reserv_reclaim_inactive(st: State) -> bool:
    """Break up the reservation with free frames whose last use is longest ago; return whether there was one."""
    head = partpop_head(st)
    block = st.rv[head].rv_next
    if block == head:
        return False
    _unlist(st, block)
    rv = st.rv[block]
    guest_block = st.blocks[rv.object_block - 1]
    rv.object_block = 0
    rv.singly = 1
    guest_block.reservation = 0
    vm_phys_set_pool(st, block * NPTEPG, (block + 1) * NPTEPG, VM_FREEPOOL_DEFAULT)
    for m in range(block * NPTEPG, (block + 1) * NPTEPG):
        if st.page[m].allocated == 0:
            vm_phys_free_pages(st, m, 0)
        elif st.pageq[m].queue != PQ_HELD:
            guest_block.singles += 1
    account(st).reservations_broken += 1
    return True


@kernel
def _alloc_single(st: State, pool: Int) -> Int:
    """Return a frame outside of reservations for a pool, breaking one if need be; NO_FRAME if there is none at all."""
    m = vm_phys_alloc_pages(st, pool, 0)
    if m < 0 and vm_reserv_reclaim_inactive(st):
        m = vm_phys_alloc_pages(st, pool, 0)
    return m


@kernel
def _note_single(st: State, flat: Int) -> None:
    """Note that a flat guest page has a frame of no reservation."""
    number, _ = _block_and_place(st, flat)
    if number >= 0:
        st.blocks[number].singles += 1
        if st.blocks[number].singles == NPTEPG:
            account(st).promotions_lost += 1


@kernel
def _identity_frame(st: State, guest: Int, flat: Int) -> Int:
    """Return the frame that a flat guest page of a guest has for good, with identity placement."""
    return st.guests[guest].first_frame + flat - st.guests[guest].begin


@kernel
def vm_phys_alloc(st: State, guest: Int, flat: Int) -> Int:
    """Take a free frame for a flat guest page of a guest, and return it; NO_FRAME if there is none (vm_page_alloc)."""
    m: Int = NO_FRAME
    if st.vm[0].identity != 0:
        m = _identity_frame(st, guest, flat)
    else:
        m = vm_reserv_alloc_page(st, flat)
        if m < 0:
            m = _alloc_single(st, VM_FREEPOOL_DEFAULT)
            if m >= 0:
                _note_single(st, flat)
    if m >= 0:
        vm_phys_freecnt_adj(st, -1)
    return m


@kernel
def vm_phys_foreseen(st: State, guest: Int, flat: Int) -> Int:
    """Return the frame that a flat guest page of a guest has, or would get now; NO_FRAME if that is not known without a search."""
    if st.vm[0].identity != 0:
        return _identity_frame(st, guest, flat)
    number, place = _block_and_place(st, flat)
    reservation = st.blocks[max(0, number)].reservation
    return (reservation - 1) * NPTEPG + place if number >= 0 and reservation != 0 else NO_FRAME


@kernel
def vm_phys_free(st: State, m: Int, flat: Int) -> None:
    """Take back the frame of a flat guest page; the page is free already (vm_page_free)."""
    vm_reserv_removed(st, m, flat)
    vm_phys_free_removed(st, m)


@kernel
def vm_reserv_removed(st: State, m: Int, flat: Int) -> None:
    """Note that a flat guest page is in page `m` no more (vm_page_remove)."""
    if st.vm[0].identity == 0 and st.rv[m // NPTEPG].singly != 0:
        number, _ = _block_and_place(st, flat)
        if number >= 0:
            st.blocks[number].singles -= 1


@kernel
def vm_phys_free_removed(st: State, m: Int) -> None:
    """Take back the frame of a page that is free already and belongs to no object any more.

    A frame of a reservation stays the reservation's, which ends with its last page; any other is a free run of its own.
    """
    vm_phys_freecnt_adj(st, 1)
    vm_page_free_wakeup(st)
    if st.vm[0].identity != 0:
        return
    block = m // NPTEPG
    rv = st.rv[block]
    if rv.singly != 0:
        vm_phys_free_pages(st, m, 0)
    elif st.reserv[block] == 0:
        _unlist(st, block)
        st.blocks[rv.object_block - 1].reservation = 0
        rv.object_block = 0
        rv.singly = 1
        vm_phys_set_pool(st, block * NPTEPG, block * NPTEPG + 1, VM_FREEPOOL_DEFAULT)
        vm_phys_free_pages(st, block * NPTEPG, BLOCK_ORDER)
        account(st).reservations_freed += 1
    else:
        _list(st, block)


@kernel
def vm_phys_alloc_wired(st: State) -> Int:
    """Take a page of the kernel's own, and return its frame, NO_FRAME where they take none (vm_page_alloc with VM_ALLOC_NOOBJ).

    One that leaves less free than the wake-up threshold wakes the page daemon; it runs when whoever takes it is done (VM.woken).

    Left out of the original: the refusal at v_free_reserved, after which _pmap_allocpte waits for the page daemon and
    get_pv_entry takes a chunk away from some pmap (reclaim_pv_chunk).  The reserve is larger than what one call takes.
    """
    vm = st.vm[0]
    vm.kernel_pages += 1
    if vm.page_tables_count == 0:
        return NO_FRAME
    m = _alloc_single(st, VM_FREEPOOL_DIRECT)
    if m < 0:
        vm.out_of_memory = 1
        return m
    vm_phys_freecnt_adj(st, -1)
    vm.v_wire_count += 1
    if vm.v_free_count < vm.vm_pageout_wakeup_thresh:
        vm.woken = 1
    return m


@kernel
def vm_phys_free_wired(st: State, m: Int) -> None:
    """Give back a page of the kernel's own and its frame, NO_FRAME if it has none."""
    vm = st.vm[0]
    vm.kernel_pages -= 1
    if m < 0:
        return
    vm_phys_freecnt_adj(st, 1)
    vm.v_wire_count -= 1
    vm_phys_free_pages(st, m, 0)
    vm_page_free_wakeup(st)


@kernel
def vm_page_free_wakeup(st: State) -> None:
    """Note that a frame was given back: when v_free_min are free, nobody waits for the page daemon any more."""
    if st.vm[0].v_free_count >= st.vm[0].v_free_min:
        st.vm[0].vm_pages_needed = 0
        st.vm[0].woken = 0
