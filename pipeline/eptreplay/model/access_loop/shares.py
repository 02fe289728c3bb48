"""Shares of one guest: which 2 MB regions belong to which share, which rows concern it, and what shares have in common.

Without TLBs, page-modification logs and a limit of memory, what an access does depends only on earlier accesses to its own
2 MB region: on the 512 pages, their entries, their reservation and their page-table page.  So the regions of a guest can be
replayed separately, each in the order of the trace, and counters add up.  What regions share are the page-table pages above
them (upper_tables): every share has its own copies, which count as one.
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

GOLDEN = 0x9E3779B1  # 2^32 over the golden ratio, odd: its multiples are spread evenly over 2^32
BLOCKS = 256  # blocks of regions that a share of a large guest has
ONE_BYTE = np.uint16(1)
ONE_ACCESS = np.uint32(1)

# The second index of what upper_tables writes: kinds of page-table pages above 2 MB regions.
DIRECTORY = 0
POINTERS = 1
UPPER_LEVELS = 2


def region_owners(pages: int, shares: int) -> NDArray[np.uint8]:
    """Return the share of every 2 MB region of a guest, shape [regions + 1]; the last stands for all beyond.

    Neighbouring blocks of regions go to different shares, and so do blocks at most other distances, so that what a guest uses
    most is spread over shares.  A large guest has larger blocks: the less often shares alternate along the arrays of the state,
    the less memory is touched by more than one.
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

    A row that crosses into a region of another share becomes two rows: each share gets the part in its own region.

    Args:
        owner: shape [regions + 1], see region_owners.
        share: its number.
        rows: of the guest.
        begin: the first one.
        end: the one after the last.
        first_row: number of the first of `rows` in the trace.
        own: the rows of the share, written; it has the columns that `rows` has, with room for all rows, and `row`: the number
            in the trace, ~number where the share has only the second part of a row.
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
    """Write to `row` which of the rows [begin, end) concern a share; return how many."""
    beyond = np.uint64(len(owner) - 1)
    mine = np.uint8(share)
    found = np.uint64(0)
    for i in range(begin, end):
        row[found] = i
        found += np.uint64(owner[min(gpa[i] >> PDRSHIFT, beyond)] == mine)
    return np.int64(found)


@kernel
def _take_crossing(owner: NDArray[np.uint8], share: Int, rows: Rows, begin: Int, end: Int, own: Rows) -> Int:
    """Do the same where rows may cross a page boundary, and write addresses, sizes and counts, too."""
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
def upper_tables(states: State, found: NDArray[np.uint8]) -> None:
    """Write which page-table pages above 2 MB regions the only guest of every instance has, except for the root.

    Args:
        states: the instances.
        found: shape [instances, UPPER_LEVELS, gigabytes], all 0: set to 1 at DIRECTORY for the page directory of a gigabyte, and
            at POINTERS for the page-directory-pointer table of 512 gigabytes.
    """
    for number in range(len(found)):
        st = instance(states, number)
        pmap = st.pmap[0]
        for gigabyte in range(found.shape[2]):
            pdpe = pmap_pdpe(st, pmap, np.uint64(gigabyte) << PDPSHIFT)
            if pdpe != NULL:
                found[number, POINTERS, gigabyte // NPTEPG] = 1
                found[number, DIRECTORY, gigabyte] = np.uint8((st.pt[pdpe] & pmap.PG_V) != NO_BITS)
