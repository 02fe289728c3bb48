"""The records of a drmemtrace trace, and what is known while they pass.

What a record is: DynamoRIO's clients/drcachesim/common/trace_entry.h. 12 bytes: type (uint16), size (uint16), address or value
(uint64), little-endian. The numbers below are those of its types (`trace_type_t`) and markers (`trace_marker_type_t`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECORD_WORDS = 3
READ, WRITE, FETCH = np.uint8(0), np.uint8(1), np.uint8(2)

TYPES = 51
"""Types that there are; the last one says of itself that it is none."""
SLOTS = 64
"""Counters: one a type, then these."""
PC_ONLY, NO_BYTES, UNTRANSLATED, FILTERED = 51, 52, 53, 54
BAD_TYPE, BAD_BUNDLE, BAD_PAGE_BYTES, BAD_PAIR = 56, 57, 58, 59

# What is done with a type.
(
    KIND_LEFT_OUT,
    KIND_ACCESS,
    KIND_FETCH,
    KIND_MAYBE_FETCH,
    KIND_BUNDLE,
    KIND_THREAD,
    KIND_EXIT,
    KIND_PID,
    KIND_MARKER,
    KIND_UNKNOWN,
) = range(10)
TYPE_MAYBE_FETCH, TYPE_NO_FETCH, TYPE_MARKER = 30, 29, 28


def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(SLOTS, KIND_LEFT_OUT, np.uint8)
    kinds[[0, 1]] = KIND_ACCESS
    kinds[[*range(10, 17), 31, 48, 49]] = KIND_FETCH
    kinds[TYPE_MAYBE_FETCH] = KIND_MAYBE_FETCH
    kinds[17] = KIND_BUNDLE
    kinds[22], kinds[23], kinds[24], kinds[TYPE_MARKER] = KIND_THREAD, KIND_EXIT, KIND_PID, KIND_MARKER
    kinds[TYPES - 1 :] = KIND_UNKNOWN
    return kinds


KINDS = _kinds()

OTHER, SKIPPED = np.uint8(255), np.uint8(254)


def _plain_ops() -> NDArray[np.uint8]:
    ops = np.where(KINDS == KIND_LEFT_OUT, SKIPPED, OTHER)
    ops[KINDS == KIND_FETCH] = FETCH
    ops[0], ops[1] = READ, WRITE
    return ops


PLAIN_OPS = _plain_ops()
"""By type: what kind of access it always is, SKIPPED for what never is one, or OTHER."""

SAYS_TIMESTAMP, SAYS_CPU_ID, SAYS_FILETYPE, SAYS_WINDOW_ID = 2, 3, 9, 14
SAYS_PHYSICAL, SAYS_NO_PHYSICAL, SAYS_VIRTUAL, SAYS_PAGE_SIZE, SAYS_FILTER_ENDPOINT = 15, 16, 17, 18, 23

# Where the state holds what.
(
    AT,  # record that comes next
    OUT,  # accesses found
    TIME,
    THREAD,
    PID,
    VCPU,  # NONE: the thread has none yet
    NEXT_PC,  # after the last instruction; NONE before the first
    LAST_PC,  # of the last instruction
    IS_FILTERED,
    IS_BIMODAL,  # filtered up to a marker
    WINDOW,
    FILE_TYPE,
    PAGE_BYTES,
    PHYSICAL,  # address of the last such marker; NONE: not followed by a virtual one yet
    PAGES,  # entries of the page map
    CORE,
    BY_CORE,  # vCPUs are cores
    TRANSLATE,  # addresses become physical ones
    STATE_WORDS,
) = range(19)

NONE = np.uint64(2**64 - 1)
NO_FRAME = np.uint64(2**64 - 2)
CORES = np.uint64(4095)
"""Bits of a CPU number below those of its node."""

# What a pass ends with.
DONE, FULL, NEW_THREAD, NEEDS_VCPU, NEW_CORE, EXITED, FILE_TYPE_SAID, MORE_PAGES = range(8)

ROOM = 32
"""The most accesses of one record: eight instructions across a page end, or 64 KB in pages."""
LEAST_PAGE = np.uint64(4096)
MOST_PAGE = np.uint64(1 << 30)
BUNDLED = 8


class Found(NamedTuple):
    """Accesses found, each array of the same shape (n,).

    Args:
        address: uint64.
        op: uint8.
        time: uint64, microseconds.
        vcpu: uint16.
        size: uint32.
        space: uint64, process.
        record: int32, number of the record in the block.
    """

    address: NDArray[np.uint64]
    op: NDArray[np.uint8]
    time: NDArray[np.uint64]
    vcpu: NDArray[np.uint16]
    size: NDArray[np.uint32]
    space: NDArray[np.uint64]
    record: NDArray[np.int32]


class Known(NamedTuple):
    """Threads, cores and pages seen; hashed tables of a power of two of entries, at most half of them used.

    Args:
        thread: uint64, shape (threads,), by hash; NONE where there is none.
        thread_vcpu: uint64, its vCPU, or NONE.
        thread_pid: uint64, its process.
        core_vcpu: uint64, shape (4096,), vCPU of a core, or NONE.
        page: uint64, shape (pages,), page number by hash; NONE where there is none.
        page_pid: uint64, process of the page.
        frame: uint64, physical address of the page, or NO_FRAME.
    """

    thread: NDArray[np.uint64]
    thread_vcpu: NDArray[np.uint64]
    thread_pid: NDArray[np.uint64]
    core_vcpu: NDArray[np.uint64]
    page: NDArray[np.uint64]
    page_pid: NDArray[np.uint64]
    frame: NDArray[np.uint64]


class Left(NamedTuple):
    """Records that are no accesses, by type and by the further counters.

    Args:
        records: int64, shape (SLOTS,).
        first: int64, number of the first one in the block.
    """

    records: NDArray[np.int64]
    first: NDArray[np.int64]
