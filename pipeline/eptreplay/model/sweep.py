"""What the host does to all of a guest's pages at once: aging sweeps, and a look at every page.

A sweep visits the pages that are in host memory in order of address; the reservations tell which 2 MB blocks
hold any.  Harvest sweeps stand in dirty_log.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model.pmap import leaf_of
from eptreplay.model.pmap_page import pmap_is_modified, pmap_is_referenced, pmap_ts_referenced
from eptreplay.model.state import PGA_REFERENCED, Int, State, world

NPTEPG = pte.NPTEPG
PAGE_SHIFT = pte.PAGE_SHIFT
SUPERPAGE_LEVEL = 2


@entry_point
def age(states: State) -> None:
    """In every world, ask every allocated page, in order, how often it was used, and forget it (pmap_ts_referenced)."""
    for number in range(len(states.page)):
        st = world(states, number)
        found: Int = 0
        for block in range(len(st.reserv)):
            if st.reserv[block] != 0:
                for m in range(block * NPTEPG, (block + 1) * NPTEPG):
                    if st.page[m].allocated != 0:
                        found += pmap_ts_referenced(st, m)
        st.cnt[0].ts_referenced += found
        st.cnt[0].sweeps += 1


# What a host can see of a guest page at one moment, a bit each (observe_pages).
SEEN_ALLOCATED = 1  # the page is in host memory
SEEN_MAPPED = 2  # the guest's tables map it
SEEN_SUPERPAGE = 4  # by a 2 MB entry
SEEN_ACCESSED = 8  # an entry, or the page's own flag, says that it was used
SEEN_DIRTY = 16  # an entry, or the page's own field, says that it was written


@entry_point
def observe_pages(states: State, seen: NDArray[np.uint8]) -> None:
    """Write what the host sees of every page in every world to `seen`, shape [worlds, pages], SEEN_* bits."""
    for number in range(len(seen)):
        st = world(states, number)
        for block in range(len(st.reserv)):
            if st.reserv[block] != 0:
                for m in range(block * NPTEPG, min((block + 1) * NPTEPG, seen.shape[1])):
                    seen[number, m] = _observe_page(st, m)


@kernel
def _observe_page(st: State, m: Int) -> Int:
    """Return the SEEN_* bits of a page that backs the same guest page."""
    if st.page[m].allocated == 0:
        return 0
    seen = SEEN_ALLOCATED
    level, _ = leaf_of(st, st.pmap[0], np.uint64(m) << PAGE_SHIFT)
    if level != 0:
        seen |= SEEN_MAPPED
    if level == SUPERPAGE_LEVEL:
        seen |= SEEN_SUPERPAGE
    if (st.page[m].aflags & PGA_REFERENCED) != 0 or pmap_is_referenced(st, m):
        seen |= SEEN_ACCESSED
    if st.page[m].dirty != 0 or pmap_is_modified(st, m):
        seen |= SEEN_DIRTY
    return seen
