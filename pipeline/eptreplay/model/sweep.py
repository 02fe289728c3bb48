"""What the host does to all of a guest's pages at once: aging sweeps, and a look at every page.

A sweep visits the pages that are in host memory, guest by guest in order of address.  Harvest sweeps stand in
dirty_log.py; what the page daemon does, in vm_pageout.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.model import pte
from eptreplay.model._jit import entry_point, kernel
from eptreplay.model.invalidate import CAUSE_AGING
from eptreplay.model.pmap import leaf_of
from eptreplay.model.pmap_page import pmap_is_modified, pmap_is_referenced, pmap_ts_referenced
from eptreplay.model.state import PGA_REFERENCED, Int, State, account, world
from eptreplay.model.vm_pageout import vm_pageout_idle

PAGE_SHIFT = pte.PAGE_SHIFT
SUPERPAGE_LEVEL = 2


@entry_point
def age(states: State) -> None:
    """In every world, ask every allocated page, in order, how often it was used, and forget it (pmap_ts_referenced)."""
    for number in range(len(states.page)):
        st = world(states, number)
        st.host[0].cause = CAUSE_AGING
        for guest in range(len(st.guests)):
            _age_guest(st, guest)


@kernel
def _age_guest(st: State, guest: Int) -> None:
    """Age the pages of one guest."""
    st.host[0].guest = guest
    found: Int = 0
    for flat in range(st.guests[guest].begin, st.guests[guest].end):
        if st.object[flat].frame > 0:
            found += pmap_ts_referenced(st, st.object[flat].frame - 1)
    account(st).ts_referenced += found
    account(st).sweeps += 1


@entry_point
def scan(states: State) -> None:
    """In every world, let the page daemon make an idle scan."""
    for number in range(len(states.page)):
        vm_pageout_idle(world(states, number))


# What a host can see of a guest page at one moment, a bit each (observe_pages).
SEEN_ALLOCATED = 1  # the page is in host memory
SEEN_MAPPED = 2  # the guest's tables map it
SEEN_SUPERPAGE = 4  # by a 2 MB entry
SEEN_ACCESSED = 8  # an entry, or the page's own flag, says that it was used
SEEN_DIRTY = 16  # an entry, or the page's own field, says that it was written


@entry_point
def observe_pages(states: State, seen: NDArray[np.uint8]) -> None:
    """Write what the host sees of every flat guest page in every world to `seen`, shape [worlds, pages], SEEN_* bits."""
    for number in range(len(seen)):
        st = world(states, number)
        for guest in range(len(st.guests)):
            for flat in range(st.guests[guest].begin, st.guests[guest].end):
                if st.object[flat].frame > 0:
                    seen[number, flat] = _observe_page(st, guest, flat)


@kernel
def _observe_page(st: State, guest: Int, flat: Int) -> Int:
    """Return the SEEN_* bits of a guest page that is in memory."""
    m = st.object[flat].frame - 1
    seen = SEEN_ALLOCATED
    level, _ = leaf_of(st, st.pmap[guest], np.uint64(flat - st.guests[guest].begin) << PAGE_SHIFT)
    if level != 0:
        seen |= SEEN_MAPPED
    if level == SUPERPAGE_LEVEL:
        seen |= SEEN_SUPERPAGE
    if (st.page[m].aflags & PGA_REFERENCED) != 0 or pmap_is_referenced(st, m):
        seen |= SEEN_ACCESSED
    if st.page[m].dirty != 0 or pmap_is_modified(st, m):
        seen |= SEEN_DIRTY
    return seen
