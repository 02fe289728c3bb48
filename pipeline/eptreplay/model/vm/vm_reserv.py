"""Which frame a guest page gets: 2 MB reservations while whole blocks are free, single frames otherwise.

The first page of a 2 MB-aligned block of guest memory reserves a whole block of frames for its neighbours; only then can the
512 of them become a superpage.  When no frame is free outside reservations, a reservation with free frames is broken up: the
one whose last use is longest ago.  A block whose frames were given one by one becomes whole again when all of them are free.

With identity placement (`VM.identity`) there is no choice: a guest's pages have consecutive frames for good.

Source: vm_reserv.c vm_reserv_alloc_page, vm_reserv_populate, vm_reserv_depopulate, vm_reserv_reclaim,
vm_reserv_reclaim_inactive; vm_phys.c vm_phys_alloc_pages, vm_phys_free_pages (orders 0 and 9 alone),
FreeBSD 10.0.
"""

from __future__ import annotations

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import PQ_FREE, insert_after, queue_head, remove
from eptreplay.model.page.vm_phys import vm_phys_freecnt_adj
from eptreplay.model.state.pte import NPTEPG
from eptreplay.model.state.state import EXTRA_RESERVATIONS, State, account

# Lists of blocks of frames.
WHOLE = 0  # all 512 frames are free
PARTPOP = 1  # reservations with free frames, the one used last at the tail (vm_rvq_partpop)


@kernel
def _head(st: State, which: Int) -> Int:
    """Return the element that is the head of a list of blocks."""
    return len(st.rv) - EXTRA_RESERVATIONS + which


@kernel
def _unlist(st: State, block: Int) -> None:
    """Take a block off the list it is on, if any."""
    rv = st.rv[block]
    if rv.listed != 0:
        st.rv[rv.rv_prev].rv_next = rv.rv_next
        st.rv[rv.rv_next].rv_prev = rv.rv_prev
        rv.listed = 0


@kernel
def _list(st: State, which: Int, block: Int) -> None:
    """Put a block at the tail of a list."""
    _unlist(st, block)
    head = _head(st, which)
    last = st.rv[head].rv_prev
    st.rv[block].rv_prev = last
    st.rv[block].rv_next = head
    st.rv[last].rv_next = block
    st.rv[head].rv_prev = block
    st.rv[block].listed = 1


@kernel
def _first(st: State, which: Int) -> Int:
    """Return the first block of a list, -1 if it is empty."""
    head = _head(st, which)
    block = st.rv[head].rv_next
    return -1 if block == head else block


@kernel
def vm_phys_init(st: State, unusable: Int) -> None:
    """Make every frame of the host free, `unusable` whole blocks, evenly spread, never to be reserved."""
    for which in range(EXTRA_RESERVATIONS):
        head = _head(st, which)
        st.rv[head].rv_next = head
        st.rv[head].rv_prev = head
    frames = st.vm[0].v_page_count
    whole = frames // NPTEPG
    for block in range((frames + NPTEPG - 1) // NPTEPG):
        # The accumulated share passes a whole number at the blocks that are picked.
        picked = block < whole and (block + 1) * unusable // whole != block * unusable // whole
        if block < whole and not picked:
            _list(st, WHOLE, block)
            continue
        st.rv[block].unusable = 1
        _split(st, block, min(NPTEPG, frames - block * NPTEPG))


@kernel
def _split(st: State, block: Int, frames: Int) -> None:
    """Move the first `frames` frames of a block, all of them free, to the frames that are given one by one."""
    st.rv[block].singly = 1
    for m in range(block * NPTEPG, block * NPTEPG + frames):
        _free_single(st, m)


@kernel
def _free_single(st: State, m: Int) -> None:
    """Put a frame at the tail of the free single frames."""
    insert_after(st, st.pageq[queue_head(st, PQ_FREE)].q_prev, m)
    st.rv[m // NPTEPG].free += 1


@kernel
def _populate(st: State, block: Int) -> None:
    """Note that a reservation is about to serve one more page."""
    _unlist(st, block)
    if st.reserv[block] + 1 < NPTEPG:
        _list(st, PARTPOP, block)


@kernel
def vm_reserv_alloc_page(st: State, flat: Int) -> Int:
    """Return a frame of a reservation for a flat guest page, -1 if none can serve it."""
    guest_block = st.blocks[flat // NPTEPG]
    if flat % NPTEPG >= guest_block.reservable:
        return -1
    if guest_block.reservation == 0:
        block = _first(st, WHOLE)
        if guest_block.singles != 0 or block < 0:
            account(st).reservations_refused += 1
            return -1
        _unlist(st, block)
        st.rv[block].object_block = flat // NPTEPG + 1
        guest_block.reservation = block + 1
        account(st).reservations += 1
    block = guest_block.reservation - 1
    _populate(st, block)
    return block * NPTEPG + flat % NPTEPG


@kernel
def vm_reserv_reclaim_inactive(st: State) -> bool:
    """Break up the reservation with free frames whose last use is longest ago; return whether there was one."""
    block = _first(st, PARTPOP)
    if block < 0:
        return False
    _unlist(st, block)
    rv = st.rv[block]
    guest_block = st.blocks[rv.object_block - 1]
    rv.object_block = 0
    rv.singly = 1
    guest_block.reservation = 0
    for m in range(block * NPTEPG, (block + 1) * NPTEPG):
        if st.page[m].allocated == 0:
            _free_single(st, m)
        else:
            guest_block.singles += 1
    account(st).reservations_broken += 1
    return True


@kernel
def _alloc_single(st: State, flat: Int) -> Int:
    """Return a frame for a flat guest page from those that are given one by one, splitting a block or reservation if need be."""
    head = queue_head(st, PQ_FREE)
    if st.pageq[head].q_next == head:
        block = _first(st, WHOLE)
        if block >= 0:
            _unlist(st, block)
            _split(st, block, NPTEPG)
        elif not vm_reserv_reclaim_inactive(st):
            return -1
    m = st.pageq[head].q_next
    remove(st, m)
    st.rv[m // NPTEPG].free -= 1
    guest_block = st.blocks[flat // NPTEPG]
    guest_block.singles += 1
    if guest_block.singles == NPTEPG:
        account(st).promotions_lost += 1
    return m


@kernel
def _identity_frame(st: State, guest: Int, flat: Int) -> Int:
    """Return the frame that a flat guest page of a guest has for good, with identity placement."""
    return st.guests[guest].first_frame + flat - st.guests[guest].begin


@kernel
def vm_phys_alloc(st: State, guest: Int, flat: Int) -> Int:
    """Take a free frame for a flat guest page of a guest, and return it; -1 if there is none.

    Every frame that holds a guest page comes from here; for page-table pages see vm_phys_alloc_wired.
    """
    m: Int = -1
    if st.vm[0].identity != 0:
        m = _identity_frame(st, guest, flat)
    else:
        m = vm_reserv_alloc_page(st, flat)
        if m < 0:
            m = _alloc_single(st, flat)
    if m >= 0:
        vm_phys_freecnt_adj(st, -1)
    return m


@kernel
def vm_phys_foreseen(st: State, guest: Int, flat: Int) -> Int:
    """Return the frame that a flat guest page of a guest has, or would get now; -1 if that is not known without a search."""
    if st.vm[0].identity != 0:
        return _identity_frame(st, guest, flat)
    reservation = st.blocks[flat // NPTEPG].reservation
    return (reservation - 1) * NPTEPG + flat % NPTEPG if reservation != 0 else -1


@kernel
def vm_phys_free(st: State, m: Int, flat: Int) -> None:
    """Take back the frame of a flat guest page; the page is free already (vm_page_free)."""
    vm_phys_freecnt_adj(st, 1)
    if st.vm[0].identity != 0:
        return
    block = m // NPTEPG
    rv = st.rv[block]
    if rv.singly != 0:
        st.blocks[flat // NPTEPG].singles -= 1
        _free_single(st, m)
        if rv.free == NPTEPG and rv.unusable == 0:
            _make_whole(st, block)
    elif st.reserv[block] == 0:
        st.blocks[rv.object_block - 1].reservation = 0
        rv.object_block = 0
        _list(st, WHOLE, block)
    else:
        _list(st, PARTPOP, block)


@kernel
def _make_whole(st: State, block: Int) -> None:
    """Join the 512 free single frames of a block."""
    for m in range(block * NPTEPG, (block + 1) * NPTEPG):
        remove(st, m)
    st.rv[block].free = 0
    st.rv[block].singly = 0
    _list(st, WHOLE, block)
