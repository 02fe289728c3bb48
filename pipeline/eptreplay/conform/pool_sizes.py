"""Pool sizes: the most that the operations of a sequence can ever map, which its host must have room for before it runs.

The model takes page-table pages and pv entries from pools that do not grow, so they are made large enough
for every address that any operation can enter a mapping at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.model.recorded.codes import Operation
from eptreplay.model.state import pte

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.model._numba.types import Records

PAGE_SIZE = int(pte.PAGE_SIZE)
# Bits of an address within what an entry of level 2, 3 and 4 covers: each has at most one table below it.
_SHIFTS = (int(pte.PDRSHIFT), int(pte.PDPSHIFT), int(pte.PML4SHIFT))


class PoolSizes(NamedTuple):
    """The most that any one pmap of a sequence can hold at once.

    Args:
        tables: page-table pages, root included.
        mappings: pv entries.
    """

    tables: int
    mappings: int


def pool_sizes_of(arguments: Records, regions: NDArray[np.uint64], pages: int) -> PoolSizes:
    """Return the most that any one pmap of a sequence can hold; pmap_copy may bring to one what another has.

    Args:
        arguments: ARGUMENTS [operations], checked.
        regions: shape [pmaps, regions]: where each region begins, byte addresses.
        pages: physical pages.
    """
    begins, ends = _entered(arguments, pages)
    at_home = regions.ravel().astype(np.int64)
    begins = np.concatenate([begins, at_home])
    ends = np.concatenate([ends, at_home + int(pte.NBPDR)])
    covered = [_covered(begins >> shift, (ends - 1) >> shift) for shift in _SHIFTS]
    # One more pv entry: pmap_enter takes that of a new mapping before it gives back that of the old one.
    return PoolSizes(tables=1 + sum(covered), mappings=covered[0] * pte.NPTEPG + 1)


def _entered(arguments: Records, pages: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the addresses begin and end at which operations enter pages that they name."""
    op = arguments["op"]
    va = arguments["va"].astype(np.int64)
    count = np.where(np.isin(op, (Operation.ENTER, Operation.ENTER_QUICK)), 1, 0)
    runs = np.isin(op, (Operation.ENTER_RUN, Operation.OBJECT_INIT_PT))
    count = np.where(runs, arguments["n"], count)
    count = np.where(op == Operation.ENTER_2M, pte.NPTEPG, count)
    of_object = -(-(arguments["eva"].astype(np.int64) - va) // PAGE_SIZE)
    of_object = np.minimum(of_object, pages - arguments["page"])
    count = np.where(op == Operation.ENTER_OBJECT, of_object, count)
    some = count > 0
    return va[some], va[some] + count[some] * PAGE_SIZE


def _covered(first: NDArray[np.int64], last: NDArray[np.int64]) -> int:
    """Return how many numbers lie in at least one of the ranges `first` to `last`, both included."""
    order = np.argsort(first, kind="stable")
    reached = np.maximum.accumulate(last[order])
    before = np.concatenate([[-1], reached[:-1]])
    return int(np.maximum(reached - np.maximum(before, first[order] - 1), 0).sum())
