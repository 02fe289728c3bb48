"""What faults in the traces of kernels say of the access that caused them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

KERNEL_HALF = np.uint64(1 << 63)
"""Addresses from here on are the kernel's, the same in all processes."""
NO_ACCESS = 255
"""Code of what is no access."""
WITHOUT_ACCESS = "a fault of no access: neither read, write nor fetch"

# Of the error code of a page fault, of x86 itself and of AMD's nested pages.
WRITE = np.uint64(1 << 1)
FETCH = np.uint64(1 << 4)

# Of the exit qualification of an EPT violation.
EPT_WRITE = np.uint64(1 << 1)
EPT_FETCH = np.uint64(1 << 2)
EPT_MARK = np.uint64(1 << 7 | 1 << 8)
"""A guest-linear address, and its use: set at all but a few EPT violations, and meaningless in an error code."""


# Of perf's data_src (include/uapi/linux/perf_event.h, union perf_mem_data_src).
_LOAD, _STORE, _EXECUTED = np.uint64(2), np.uint64(4), np.uint64(16)


def op_of_data_source(source: Words) -> NDArray[np.uint8]:
    """Return the kind of access that perf's data_src tells of; NO_ACCESS for a prefetch, and where it tells of none."""
    kinds = [source & _EXECUTED != 0, source & _STORE != 0, source & _LOAD != 0]
    return np.select(kinds, [Op.FETCH, Op.WRITE, Op.READ], NO_ACCESS).astype(np.uint8)


def op_of_error_code(code: Words) -> NDArray[np.uint8]:
    """Return the kind of access of page faults by their error codes (Intel SDM 3A, AMD APM 2, "Page-Fault Error Code")."""
    return _op(code & FETCH != 0, code & WRITE != 0)


def op_of_ept_violation(qualification: Words) -> NDArray[np.uint8]:
    """Return the kind of access of EPT violations by their exit qualifications (Intel SDM 3C); a read and write is a write."""
    return _op(qualification & EPT_FETCH != 0, qualification & EPT_WRITE != 0)


def op_of_kvm_fault(code: Words) -> NDArray[np.uint8]:
    """Return the kind of access of what KVM calls a page fault.

    With EPT its code is the exit qualification, which has bit 7 or 8; with AMD's nested pages and with shadow paging it is an error code,
    where these bits mean nothing.
    """
    return np.where(code & EPT_MARK != 0, op_of_ept_violation(code), op_of_error_code(code)).astype(np.uint8)


def numbers_of(values: Words, known: dict[int, int]) -> NDArray[np.uint16]:
    """Return a number for each value, from 0 as they are first seen.

    Args:
        values: shape (n,), of which few are different: threads.
        known: numbers given until now, added to.
    """
    different, first, places = np.unique(values, return_index=True, return_inverse=True)
    for at in np.argsort(first, kind="stable").tolist():
        known.setdefault(int(different[at]), len(known))
    numbers = np.array([known[int(value)] for value in different], np.uint16)
    return numbers[places]


def _op(fetch: NDArray[np.bool_], write: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(fetch, Op.FETCH, np.where(write, Op.WRITE, Op.READ)).astype(np.uint8)
