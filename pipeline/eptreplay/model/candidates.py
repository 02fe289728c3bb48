"""What the page daemon would take next: every page in memory of a guest, as the daemon would find it now."""

from __future__ import annotations

import numpy as np

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model.page_queue import PQ_ACTIVE, PQ_INACTIVE, queue_head
from eptreplay.model.pmap import leaf_of
from eptreplay.model.pmap_page import pmap_is_modified, pmap_is_referenced
from eptreplay.model.state import PGA_REFERENCED, Int, Records, State, world
from eptreplay.model.vm_object import guest_of

PAGE_SHIFT = pte.PAGE_SHIFT
SUPERPAGE_LEVEL = 2

# A guest page in memory; all zero: not in memory.
CANDIDATE = np.dtype(
    [
        ("position", np.int32),  # 1 + how many pages stand before it in its queue
        ("last_reference", np.int32),  # the idle scan that last found it used, or after which it came
        ("queue", np.uint8),  # PQ_NONE, PQ_INACTIVE or PQ_ACTIVE
        ("act_count", np.uint8),
        ("resident", np.uint8),  # 1: in memory
        ("dirty", np.uint8),  # 1: it differs from its copy in swap, or has none and was written
        ("used", np.uint8),  # 1: used since it was last asked
        ("wired", np.uint8),
        ("held", np.uint8),
        ("mapped", np.uint8),
        ("superpage", np.uint8),  # 1: mapped by a 2 MB entry
    ],
    align=True,
)


@entry_point
def list_candidates(states: State, number: int, guest: Int, found: Records) -> None:
    """Write what one world knows of every page of a guest to `found`, CANDIDATE [guest pages], all zero before."""
    st = world(states, number)
    begin = st.guests[guest].begin
    for page in range(len(found)):
        m = st.object[begin + page].frame - 1
        if m >= 0:
            _describe(st, guest, page, m, found)
    for queue in (PQ_INACTIVE, PQ_ACTIVE):
        head = queue_head(st, queue)
        position = 0
        m = st.pageq[head].q_next
        while m != head:
            position += 1
            if guest_of(st, st.page[m].pindex) == guest:
                found[st.page[m].pindex - begin].position = position
            m = st.pageq[m].q_next


@kernel
def _describe(st: State, guest: Int, page: Int, m: Int, found: Records) -> None:
    """Describe one page that is in memory."""
    candidate = found[page]
    known = st.pageq[m]
    level, _ = leaf_of(st, st.pmap[guest], np.uint64(page) << PAGE_SHIFT)
    candidate.resident = 1
    candidate.queue = known.queue
    candidate.act_count = known.act_count
    candidate.last_reference = known.last_reference
    candidate.wired = 1 if known.wire_count != 0 else 0
    candidate.held = 1 if known.hold_count != 0 else 0
    candidate.mapped = 1 if level != 0 else 0
    candidate.superpage = 1 if level == SUPERPAGE_LEVEL else 0
    candidate.dirty = 1 if st.page[m].dirty != 0 or pmap_is_modified(st, m) else 0
    candidate.used = 1 if (st.page[m].aflags & PGA_REFERENCED) != 0 or pmap_is_referenced(st, m) else 0
