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
from eptreplay.model.state.state import State, instance
from eptreplay.model.statistics.intervals import crosses

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
    owner: NDArray[np.uint8],
    share: Int,
    gpa: NDArray[np.uint64],
    op: NDArray[np.uint8],
    vcpu: NDArray[np.uint16],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
    first_row: Int,
    own_gpa: NDArray[np.uint64],
    own_op: NDArray[np.uint8],
    own_vcpu: NDArray[np.uint16],
    own_size: NDArray[np.uint16],
    own_count: NDArray[np.uint32],
    own_row: NDArray[np.int64],
) -> Int:
    """Copy the rows that concern a share, in order; return how many there are.

    A row that crosses into a region of another share is two: each share gets the page that is its own.

    Args:
        owner: shape [regions + 1], see region_owners.
        share: which one.
        gpa: shape [rows]: this and the next four as replay_rows takes them.
        op: kinds of access.
        vcpu: vCPUs.
        size: bytes.
        count: accesses.
        first_row: number of the first row in the trace.
        own_gpa: shape [at least rows]: the share's, written; likewise the others.
        own_op: kinds of access.
        own_vcpu: vCPUs, where they are not one for all rows.
        own_size: bytes, where rows have any.
        own_count: accesses, where rows have any.
        own_row: numbers of the rows in the trace; ~number where a share has the second part of a row alone.
    """
    if len(size) != 0:
        found = _take_crossing(owner, share, gpa, size, count, own_gpa, own_size, own_count, own_row)
    else:
        found = _take(owner, share, gpa, own_row)
        for k in range(found):
            own_gpa[k] = gpa[own_row[k]]
        for k in range(found if len(count) != 0 else 0):
            own_count[k] = count[own_row[k]]
    for k in range(found):
        own_op[k] = op[own_row[k]]
    for k in range(found if len(vcpu) > 1 else 0):
        own_vcpu[k] = vcpu[own_row[k]]
    for k in range(found):
        number = first_row + own_row[k]
        own_row[k] = number if own_gpa[k] == gpa[own_row[k]] else ~number
    return found


@kernel
def _take(owner: NDArray[np.uint8], share: Int, gpa: NDArray[np.uint64], own_row: NDArray[np.int64]) -> Int:
    """Note which rows concern a share, and return how many."""
    beyond = np.uint64(len(owner) - 1)
    mine = np.uint8(share)
    found = np.uint64(0)
    for i in range(len(gpa)):
        own_row[found] = i
        found += np.uint64(owner[min(gpa[i] >> PDRSHIFT, beyond)] == mine)
    return np.int64(found)


@kernel
def _take_crossing(
    owner: NDArray[np.uint8],
    share: Int,
    gpa: NDArray[np.uint64],
    size: NDArray[np.uint16],
    count: NDArray[np.uint32],
    own_gpa: NDArray[np.uint64],
    own_size: NDArray[np.uint16],
    own_count: NDArray[np.uint32],
    own_row: NDArray[np.int64],
) -> Int:
    """Do the same where rows may cross a page, and write addresses, sizes and counts, too."""
    beyond = np.uint64(len(owner) - 1)
    found: Int = 0
    for i in range(len(gpa)):
        first = owner[min(gpa[i] >> PDRSHIFT, beyond)] == share
        crossing = crosses(gpa[i], size, i)
        after = ((gpa[i] >> PAGE_SHIFT) + ONE) << PAGE_SHIFT
        second = crossing and owner[min(after >> PDRSHIFT, beyond)] == share
        if first or second:
            whole = first and (second or not crossing)
            own_row[found] = i
            own_gpa[found] = gpa[i] if first else after
            own_size[found] = size[i] if whole else ONE_BYTE
            if len(count) != 0:
                own_count[found] = count[i] if first else ONE_ACCESS
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
