"""Swap candidates: every page of a guest that is in memory, with what the page daemon would find of it now."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.arrays import Field, record_type
from eptreplay.model._numba.types import Int, Records
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, PQ_INACTIVE, PQ_NONE, queue_head
from eptreplay.model.pmap.pmap import leaf_of
from eptreplay.model.pmap.pmap_page import pmap_is_modified, pmap_is_referenced
from eptreplay.model.state.guest_pages import page_at
from eptreplay.model.state.pages import PGA_REFERENCED, PGA_WRITEABLE
from eptreplay.model.state.pte import NO_BITS, PAGE_SHIFT, PDE_LEVEL
from eptreplay.model.state.state import State, instance

# A guest page; all zero: it is not in memory.
# fmt: off
CANDIDATE_FIELDS = (
    #     name              type       unit          owner                 meaning
    Field("position",       np.int32,  "number + 1", "vm/swap_candidates", "1 + how many pages stand before it in its queue"),
    Field("last_reference", np.int32,  "",           "vm/swap_candidates", "the idle scan that last found it used, or after which it came into memory"),
    Field("queue",          np.uint8,  "",           "vm/swap_candidates", "PQ_NONE, PQ_INACTIVE or PQ_ACTIVE"),
    Field("act_count",      np.uint8,  "",           "vm/swap_candidates", "as in VM_PAGE_QUEUE"),
    Field("flags",          np.uint16, "",           "vm/swap_candidates", "what is so, a bit each"),
)
# fmt: on
CANDIDATE = record_type(CANDIDATE_FIELDS)
RESIDENT = 1  # it is in memory
DIRTY = 2  # it differs from its copy in swap, or has none and was written
USED = 4  # it was used since that was last cleared
WIRED = 8
HELD = 16
MAPPED = 32  # by the guest's tables
SUPERPAGE = 64  # by a 2 MB entry
WRITEABLE = 128  # some mapping may be writable
COPIED = 256  # it has a copy in swap


@entry_point
def note_positions(states: State, number: Int, positions: NDArray[np.int32]) -> None:
    """Write to `positions`, shape [frames], all zero, 1 + how many pages come before each page on its queue, in one instance."""
    st = instance(states, number)
    # Following a list that is in no cache takes the latency of memory per page: read all of them in order first.
    queued: Int = 0
    for m in range(len(st.page)):
        queued += np.int64(st.pageq[m].queue != PQ_NONE)
    for queue in (PQ_INACTIVE, PQ_ACTIVE):
        head = queue_head(st, queue)
        position = 0
        m = st.pageq[head].q_next
        while m != head and position < queued:
            position += 1
            positions[m] = position
            m = st.pageq[m].q_next


@entry_point
def list_candidates(
    states: State, number: Int, guest: Int, positions: NDArray[np.int32], found: Records
) -> None:
    """Write what one instance knows of every page of a guest to `found`, CANDIDATE [guest pages], all zero.

    `positions` is what note_positions wrote for that instance.
    """
    st = instance(states, number)
    begin = st.guests[guest].begin
    alone = st.pmap[len(st.guests) + guest].pm_pml4 == 0  # the hypervisor process maps nothing
    for page in range(len(found)):
        m = st.object[page_at(begin + page)].frame - 1
        if m >= 0:
            _describe(st, guest, page, m, alone, found)
            found[page].position = positions[m]


@kernel
def _describe(st: State, guest: Int, page: Int, m: Int, alone: bool, found: Records) -> None:
    """Describe one page that is in memory; `alone`: no pmap but the guest's can map it."""
    candidate = found[page]
    known = st.pageq[m]
    pmap = st.pmap[guest]
    level, slot = leaf_of(st, pmap, np.uint64(page) << PAGE_SHIFT)
    written = st.page[m].dirty != 0
    used = (st.page[m].aflags & PGA_REFERENCED) != 0
    if not alone:
        written |= pmap_is_modified(st, m)
        used |= pmap_is_referenced(st, m)
    elif level != 0:
        entry = st.pt[slot]
        written |= (entry & (pmap.PG_M | pmap.PG_RW)) == (pmap.PG_M | pmap.PG_RW)
        used |= (entry & pmap.PG_A) != NO_BITS
    flags = RESIDENT
    flags |= DIRTY if written else 0
    flags |= USED if used else 0
    flags |= WIRED if known.wire_count != 0 else 0
    flags |= HELD if known.hold_count != 0 else 0
    flags |= MAPPED if level != 0 else 0
    flags |= SUPERPAGE if level == PDE_LEVEL else 0
    flags |= WRITEABLE if (st.page[m].aflags & PGA_WRITEABLE) != 0 else 0
    flags |= COPIED if st.swblk[page_at(st.page[m].pindex)] != 0 else 0
    candidate.flags = flags
    candidate.queue = known.queue
    candidate.act_count = known.act_count
    candidate.last_reference = known.last_reference
