"""Shares of one guest: which 2 MB regions belong to whom, whose a row is, and what shares have in common.

Without TLBs, page-modification logs and a limit to memory, what an access does depends on earlier ones to its own 2 MB
region alone: on its 512 pages, their entries, their reservation and the page-table page over them.  So the regions of a
guest can be replayed apart, each by itself in the order of the trace, and what is counted adds up.  What regions
share are the page-table pages above (upper_tables): every share has its own, and those of all are one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import ONE, Int
from eptreplay.model.pmap.ptp import NULL, pmap_pdpe
from eptreplay.model.state.pte import NO_BITS, NPTEPG, PAGE_SHIFT, PDPSHIFT, PDRSHIFT
from eptreplay.model.state.rows import Rows, crosses
from eptreplay.model.state.state import State, instance

GOLDEN = 0x9E3779B1  # 2^32 times the golden ratio, odd: its multiples are spread evenly over 2^32
BLOCKS = 256  # blocks of regions that a share of a large guest has
ONE_BYTE = np.uint16(1)
ONE_ACCESS = np.uint32(1)


def region_owners(pages: int, shares: int) -> NDArray[np.uint8]:
    """Return the share of every 2 MB region of a guest, shape [regions + 1]; the last stands for all beyond.

    Blocks of regions that are neighbours go to different shares, and so do those at most distances, so that what a guest
    uses most is spread.  A large guest has larger blocks: the less shares alternate in the arrays of the state,
    the less memory they both touch.
    """
    regions = -(-pages // NPTEPG) + 1
    block = np.arange(regions, dtype=np.uint64) // np.uint64(-(-regions // (BLOCKS * shares)))
    spread = (block * np.uint64(GOLDEN)) & np.uint64(0xFFFF_FFFF)
    return ((spread * np.uint64(shares)) >> np.uint64(32)).astype(np.uint8)


@entry_point
def take_rows(
    owner: NDArray[np.uint8], share: Int, rows: Rows, begin: Int, end: Int, first_row: Int, own: Rows
) -> Int:
    """Copy those of the rows [begin, end) that concern a share, in order; return how many there are.

    A row that crosses into a region of another share is two: each share gets the page that is its own.

    Args:
        owner: shape [regions + 1], see region_owners.
        share: which one.
        rows: of the guest.
        begin: the first one.
        end: the one after the last.
        first_row: number of the first of `rows` in the trace.
        own: the share's, with room for all of them, written; it has the columns that `rows` has, and `row`: the number in the
            trace, ~number where the share has the second part of a row alone.
    """
    if len(rows.size) != 0:
        found = _take_crossing(owner, share, rows, begin, end, own)
    else:
        found = _take(owner, share, rows.gpa, begin, end, own.row)
        for k in range(found):
            own.gpa[k] = rows.gpa[own.row[k]]
        for k in range(found if len(rows.count) != 0 else 0):
            own.count[k] = rows.count[own.row[k]]
    for k in range(found):
        own.op[k] = rows.op[own.row[k]]
    for k in range(found if len(rows.vcpu) > 1 else 0):
        own.vcpu[k] = rows.vcpu[own.row[k]]
    if len(rows.vcpu) == 1:
        own.vcpu[0] = rows.vcpu[0]
    for k in range(found):
        number = first_row + own.row[k]
        own.row[k] = number if own.gpa[k] == rows.gpa[own.row[k]] else ~number
    return found


@kernel
def _take(
    owner: NDArray[np.uint8],
    share: Int,
    gpa: NDArray[np.uint64],
    begin: Int,
    end: Int,
    row: NDArray[np.int64],
) -> Int:
    """Note which rows concern a share, and return how many."""
    beyond = np.uint64(len(owner) - 1)
    mine = np.uint8(share)
    found = np.uint64(0)
    for i in range(begin, end):
        row[found] = i
        found += np.uint64(owner[min(gpa[i] >> PDRSHIFT, beyond)] == mine)
    return np.int64(found)


@kernel
def _take_crossing(owner: NDArray[np.uint8], share: Int, rows: Rows, begin: Int, end: Int, own: Rows) -> Int:
    """Do the same where rows may cross a page, and write addresses, sizes and counts, too."""
    beyond = np.uint64(len(owner) - 1)
    found: Int = 0
    for i in range(begin, end):
        gpa = rows.gpa[i]
        first = owner[min(gpa >> PDRSHIFT, beyond)] == share
        crossing = crosses(rows, i)
        after = ((gpa >> PAGE_SHIFT) + ONE) << PAGE_SHIFT
        second = crossing and owner[min(after >> PDRSHIFT, beyond)] == share
        if first or second:
            whole = first and (second or not crossing)
            own.row[found] = i
            own.gpa[found] = gpa if first else after
            own.size[found] = rows.size[i] if whole else ONE_BYTE
            if len(rows.count) != 0:
                own.count[found] = rows.count[i] if first else ONE_ACCESS
            found += 1
    return found


@entry_point
def upper_tables(states: State, marks: NDArray[np.uint8]) -> None:
    """Mark which page-table pages above 2 MB regions the only guest of every instance has, but for the root.

    Args:
        states: the instances.
        marks: shape [instances, 2, gigabytes], 0: set to 1 for the page directory of a gigabyte (0), and for the
            page-directory-pointer table of 512 of them (1).
    """
    for number in range(len(marks)):
        st = instance(states, number)
        pmap = st.pmap[0]
        for gigabyte in range(marks.shape[2]):
            pdpe = pmap_pdpe(st, pmap, np.uint64(gigabyte) << PDPSHIFT)
            if pdpe != NULL:
                marks[number, 1, gigabyte // NPTEPG] = 1
                marks[number, 0, gigabyte] = np.uint8((st.pt[pdpe] & pmap.PG_V) != NO_BITS)
