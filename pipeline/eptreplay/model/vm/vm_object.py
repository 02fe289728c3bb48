"""Which frame holds which guest page, and which guest pages have a copy in swap.

The memory of a guest is an object of anonymous pages (OBJT_DEFAULT).  Its pages have flat numbers: `State.object` holds
the pages of all guests of a host, those of each from its `GUEST.begin` on.

The swap device has slots of one page.  A copy stays there when its page is read back, until a fault for writing
makes it obsolete.

Source: vm_page.c vm_page_insert, vm_page_remove, vm_page_lookup; swap_pager.c swp_pager_getswapspace,
swap_pager_unswapped, FreeBSD 10.0.
"""

from __future__ import annotations

from eptreplay.compiled import kernel
from eptreplay.model._numba.types import Int
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.objects import GONE
from eptreplay.model.state.state import State, account

NOT_RESIDENT = -1
SWAP_UNUSED = 1  # VM.swap_used before any slot was taken: there is no slot 0


@kernel
def vm_page_lookup(st: State, flat: Int) -> Int:
    """Return the page that holds a flat guest page, NOT_RESIDENT if none does."""
    frame = st.object[page_at(flat)].frame
    return frame - 1 if frame > 0 else NOT_RESIDENT


@kernel
def guest_of(st: State, flat: Int) -> Int:
    """Return the guest that a flat guest page belongs to."""
    guest = 0
    for i in range(1, len(st.guests)):
        if st.guests[i].begin <= flat:
            guest = i
    return guest


@kernel
def pmap_guest(st: State, pm_id: Int) -> Int:
    """Return the guest whose memory a pmap maps: guests' pmaps come first, those of their hypervisor processes after them."""
    return pm_id % len(st.guests)


@kernel
def vm_page_insert(st: State, m: Int, guest: Int, flat: Int) -> None:
    """Let page `m` hold a flat guest page of a guest; it is on no queue yet."""
    st.object[page_at(flat)].frame = m + 1
    st.page[m].pindex = flat
    st.cnt[guest].v_resident += 1


@kernel
def vm_page_remove(st: State, m: Int) -> None:
    """Take from page `m` the guest page that it holds."""
    st.object[page_at(st.page[m].pindex)].frame = GONE
    st.cnt[guest_of(st, st.page[m].pindex)].v_resident -= 1


@kernel
def swap_slot(st: State, flat: Int) -> Int:
    """Return the slot of swap that holds a copy of a flat guest page, 0 if it has none.

    As long as nothing was ever swapped, the word of the page is not looked at: loading it would have to wait for memory.
    """
    return st.swblk[page_at(flat)] if st.vm[0].swap_used != SWAP_UNUSED else 0


@kernel
def swap_out(st: State, flat: Int) -> None:
    """Give a flat guest page a copy in swap, in its old slot if it has one."""
    if st.swblk[page_at(flat)] != 0:
        return
    vm = st.vm[0]
    slot = vm.swap_free
    if slot != 0:
        vm.swap_free = st.swap[slot]
    else:
        slot = vm.swap_used
        vm.swap_used += 1
    st.swap[slot] = flat + 1
    st.swblk[page_at(flat)] = slot
    account(st).swap_copies += 1


@kernel
def swap_pager_unswapped(st: State, flat: Int) -> None:
    """Give up the copy in swap of a flat guest page, if it has one: the page is about to differ from it."""
    slot = swap_slot(st, flat)
    if slot == 0:
        return
    st.swblk[page_at(flat)] = 0
    st.swap[slot] = st.vm[0].swap_free
    st.vm[0].swap_free = slot
    account(st).swap_copies -= 1
    account(st).unswapped += 1
