"""Rows: consecutive accesses of one guest, or of the guests of a host, as every kernel takes them.

Pages, addresses and vCPUs have flat numbers (instances.py).  An address beyond the memory of its guest has NOWHERE set, and the
number of the guest in the bits from GUEST_SHIFT on.  A column that is the same for all rows is absent: it has length 0; that of
vCPUs then has length 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import kernel
from eptreplay.model._numba.arrays import array, arrays_in, structure_of_arrays
from eptreplay.model._numba.types import Int
from eptreplay.model.state.pte import PAGE_MASK, PAGE_SIZE

# Codes of Rows.op.
OP_READ = 0
OP_WRITE = 1
OP_FETCH = 2
KINDS = 3

GUEST_SHIFT = np.uint64(48)
GUEST_MASK = np.uint64(0xFF)
NOWHERE = np.uint64(1 << 62)  # no other address has this bit
ADDRESS_MASK = np.uint64((1 << 48) - 1)


# fmt: off
@structure_of_arrays
class Rows:
    """Rows, all of them accesses.  A row that crosses a page boundary is one access to the next page, too."""

    gpa: NDArray[np.uint64] = array(np.uint64, "rows", unit="bytes", owner="access_loop/shares", meaning="flat address")
    op: NDArray[np.uint8] = array(np.uint8, "rows", owner="access_loop/shares", meaning="OP_READ, OP_WRITE or OP_FETCH")
    vcpu: NDArray[np.uint16] = array(np.uint16, "rows", unit="vCPU", owner="access_loop/shares", meaning="who made the access; length 1: one for all rows")
    size: NDArray[np.uint16] = array(np.uint16, "rows", unit="bytes", owner="access_loop/shares", meaning="length; absent: no row crosses a page boundary")
    count: NDArray[np.uint32] = array(np.uint32, "rows", unit="accesses", owner="access_loop/shares", meaning="how many accesses a row stands for; absent: one each")
    guest: NDArray[np.uint8] = array(np.uint8, "rows", unit="guest", owner="access_loop/shares", meaning="whose access it is; absent: the only guest's")
    row: NDArray[np.int64] = array(np.int64, "rows", unit="row", owner="access_loop/shares", meaning="number in the guest's trace; absent: rows are consecutive")
    places: NDArray[np.int64]
# fmt: on


_ABSENT: dict[str, NDArray[Any]] = {
    "size": np.zeros(0, np.uint16),
    "count": np.zeros(0, np.uint32),
    "guest": np.zeros(0, np.uint8),
    "row": np.zeros(0, np.int64),
}
_WHERE_ABSENT = {name: (array.ctypes.data, 0) for name, array in _ABSENT.items()}
_VCPU_0 = np.zeros(1, np.uint16)
_DTYPES = {name: each.dtype for name, each in arrays_in(Rows).items()}


def rows_of(
    gpa: NDArray[np.uint64], op: NDArray[np.uint8], vcpu: NDArray[np.uint16] = _VCPU_0, **others: NDArray[Any]
) -> Rows:
    """Return rows of these columns; one that is not given is the same for all of them.

    Rows are made for every batch, and finding out where an array is takes Python as long as all else here: of columns that
    are absent it is known.

    Raises:
        TypeError: a column has another type than it should, or gaps.
    """
    columns: dict[str, NDArray[Any]] = {"gpa": gpa, "op": op, "vcpu": vcpu, **_ABSENT, **others}
    words: list[int] = []
    for name, dtype in _DTYPES.items():
        column = columns[name]
        if column is _ABSENT.get(name):
            words += _WHERE_ABSENT[name]
            continue
        if column.dtype != dtype or not column.flags.c_contiguous:
            raise TypeError(f"{name} is {column.dtype} {column.shape}, not {dtype} without gaps")
        words += (column.ctypes.data, len(column))
    return Rows(**columns, places=np.array([[*words, 1]], np.int64))


@kernel
def crosses(rows: Rows, i: Int) -> bool:
    """Return whether the access of a row crosses a page boundary; none does where there are no sizes."""
    return len(rows.size) != 0 and bool((rows.gpa[i] & PAGE_MASK) + np.uint64(rows.size[i]) > PAGE_SIZE)


@kernel
def vcpu_of(rows: Rows, i: Int) -> Int:
    """Return the vCPU that made the access of a row."""
    return np.int64(rows.vcpu[i if len(rows.vcpu) > 1 else 0])


@kernel
def accesses_of(rows: Rows, i: Int) -> Int:
    """Return how many accesses a row stands for."""
    return np.int64(rows.count[i]) if len(rows.count) != 0 else 1


@kernel
def row_number(rows: Rows, i: Int, first_row: Int) -> Int:
    """Return the number of a row in its guest's trace; where rows are consecutive, `first_row` is that of the first."""
    return rows.row[i] if len(rows.row) != 0 else first_row + i


@kernel
def known_page(page: np.uint64, beyond: np.uint64) -> np.uint64:
    """Return the index of a page in State.fast_path: `beyond`, the last one, stands for all pages from there on.

    It is what page_at is elsewhere: where memory of which only pages in use have a byte would look a page up.
    """
    return min(page, beyond)
