"""The pass over the records of a drmemtrace trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.ingest.scans.drmemtrace_layout import (
    AT,
    BAD_BUNDLE,
    BAD_PAGE_BYTES,
    BAD_PAIR,
    BAD_TYPE,
    BUNDLED,
    BY_CORE,
    CORE,
    CORES,
    DONE,
    EXITED,
    FETCH,
    FILE_TYPE,
    FILE_TYPE_SAID,
    FILTERED,
    FULL,
    IS_BIMODAL,
    IS_FILTERED,
    KIND_ACCESS,
    KIND_BUNDLE,
    KIND_EXIT,
    KIND_LEFT_OUT,
    KIND_MARKER,
    KIND_MAYBE_FETCH,
    KIND_PID,
    KIND_UNKNOWN,
    KINDS,
    LAST_PC,
    LEAST_PAGE,
    MOST_PAGE,
    NEEDS_VCPU,
    NEW_CORE,
    NEW_THREAD,
    NEXT_PC,
    NO_BYTES,
    NO_FRAME,
    NONE,
    OTHER,
    OUT,
    PAGE_BYTES,
    PC_ONLY,
    PHYSICAL,
    PID,
    PLAIN_OPS,
    READ,
    RECORD_WORDS,
    ROOM,
    SAYS_CPU_ID,
    SAYS_FILETYPE,
    SAYS_FILTER_ENDPOINT,
    SAYS_NO_PHYSICAL,
    SAYS_PAGE_SIZE,
    SAYS_PHYSICAL,
    SAYS_TIMESTAMP,
    SAYS_VIRTUAL,
    SAYS_WINDOW_ID,
    SKIPPED,
    SLOTS,
    THREAD,
    TIME,
    TRANSLATE,
    TYPE_MARKER,
    TYPE_NO_FETCH,
    UNTRANSLATED,
    VCPU,
    WINDOW,
    WRITE,
    Found,
    Known,
    Left,
)
from eptreplay.ingest.scans.drmemtrace_pages import frame_of, map_page, slot_of

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Number: TypeAlias = int | np.int64


@entry_point
def scan(
    words: NDArray[np.uint32], found: Found, known: Known, left: Left, state: NDArray[np.uint64]
) -> Number:
    """Go through records from `state[AT]` on, until something is needed that only the caller can give.

    Args:
        words: shape (3 n,), the records.
        found: takes the accesses from `state[OUT]` on.
        known: threads, cores, pages.
        left: takes what is left out.
        state: shape (STATE_WORDS,).

    Returns:
        DONE, FULL (no room in `found`), NEW_THREAD (`state[THREAD]` is not known), NEEDS_VCPU, NEW_CORE (`state[CORE]`),
        MORE_PAGES (the page map is half full): the record at `state[AT]` is looked at again. EXITED (`state[THREAD]`), FILE_TYPE_SAID: it is done.
    """
    records = len(words) // RECORD_WORDS
    at: Number = np.int64(state[AT])
    status: Number = DONE
    while at < records and status == DONE:
        at = _plain(words, at, found, left, state)
        if at == records:
            state[AT] = at
            break
        kind, value = _kind_of(words, at), _value(words, at)
        state[AT] = at
        if kind <= KIND_BUNDLE:
            status = _instruction_or_access(words, at, kind, found, known, left, state)
        elif kind == KIND_MARKER:
            status = _marker(np.int64(words[3 * at] >> np.uint32(16)), value, at, known, left, state)
        elif kind == KIND_UNKNOWN:
            _leave(left, BAD_TYPE, at)
        else:
            status = _thread(kind, value, at, known, left, state)
        if status == DONE or status == EXITED or status == FILE_TYPE_SAID:  # noqa: PLR1714, SIM109 - compiles to less
            at += 1
            state[AT] = at
    return status


@kernel
def _plain(
    words: NDArray[np.uint32], at: Number, found: Found, left: Left, state: NDArray[np.uint64]
) -> Number:
    """Take in records as long as they are plain accesses of a thread that has its vCPU, or never accesses; return the next."""
    if state[VCPU] == NONE or state[TRANSLATE] != np.uint64(0) or state[IS_FILTERED] != np.uint64(0):
        return at
    records, out, room = len(words) // RECORD_WORDS, np.int64(state[OUT]), len(found.address)
    time, vcpu, pid = state[TIME], np.uint16(state[VCPU]), state[PID]
    fetched: Number = np.int64(-1)
    while at < records and out < room:
        word = words[3 * at]
        kind = np.int64(word & np.uint32(0xFFFF))
        kind = kind if kind < SLOTS else np.int64(SLOTS - 1)
        op = PLAIN_OPS[kind]
        if op == SKIPPED:
            _leave(left, kind, at)
            at += 1
            continue
        size = word >> np.uint32(16)
        if op == OTHER or size == np.uint32(0):
            break
        found.address[out] = _value(words, at)
        found.op[out], found.size[out] = op, size
        found.time[out], found.vcpu[out], found.space[out] = time, vcpu, pid
        found.record[out] = np.int32(at)
        out += 1
        fetched = at if op == FETCH else fetched
        at += 1
    state[OUT] = np.uint64(out)
    if fetched >= 0:
        state[LAST_PC] = _value(words, fetched)
        state[NEXT_PC] = state[LAST_PC] + np.uint64(words[3 * fetched] >> np.uint32(16))
    return at


@kernel
def _kind_of(words: NDArray[np.uint32], at: Number) -> Number:
    """Return what is done with a record."""
    number = np.int64(words[3 * at] & np.uint32(0xFFFF))
    return np.int64(KINDS[number if number < SLOTS else SLOTS - 1])


@kernel
def _value(words: NDArray[np.uint32], at: Number) -> np.uint64:
    """Return the address or value of a record."""
    return np.uint64(words[3 * at + 1]) | np.uint64(words[3 * at + 2]) << np.uint64(32)


@kernel
def _leave(left: Left, slot: Number, at: Number) -> Number:
    """Count a record that is left out."""
    if left.records[slot] == 0:
        left.first[slot] = at
    left.records[slot] += 1
    return DONE


@kernel
def _instruction_or_access(  # noqa: PLR0911 - a case after the other
    words: NDArray[np.uint32],
    at: Number,
    kind: Number,
    found: Found,
    known: Known,
    left: Left,
    state: NDArray[np.uint64],
) -> Number:
    """Take in a record that may be an access."""
    kind_of = np.int64(words[3 * at] & np.uint32(0xFFFF))
    size, value = np.uint64(words[3 * at] >> np.uint32(16)), _value(words, at)
    if kind == KIND_LEFT_OUT:
        return _leave(left, kind_of, at)
    if state[VCPU] == NONE:
        return NEEDS_VCPU
    if state[OUT] + np.uint64(ROOM) > np.uint64(len(found.address)):
        return FULL
    if kind == KIND_ACCESS:
        op = WRITE if kind_of == 1 else READ
        return _emit(value, size, op, at, found, known, left, state)
    if kind == KIND_BUNDLE:
        return _bundle(size, value, at, found, known, left, state)
    if size == np.uint64(0):
        state[LAST_PC] = value
        return _leave(left, PC_ONLY, at)
    if kind == KIND_MAYBE_FETCH and state[LAST_PC] == value:
        return _leave(left, TYPE_NO_FETCH, at)
    state[LAST_PC] = value
    state[NEXT_PC] = value + size
    return _emit(value, size, FETCH, at, found, known, left, state)


@kernel
def _bundle(
    count: np.uint64,
    lengths: np.uint64,
    at: Number,
    found: Found,
    known: Known,
    left: Left,
    state: NDArray[np.uint64],
) -> Number:
    """Take in instructions that follow the last one without a gap: a byte of the value is the length of one."""
    if count > np.uint64(BUNDLED) or count == np.uint64(0) or state[NEXT_PC] == NONE:
        return _leave(left, BAD_BUNDLE, at)
    for number in range(np.int64(count)):
        size = lengths >> np.uint64(8 * number) & np.uint64(255)
        state[LAST_PC] = state[NEXT_PC]
        _emit(state[NEXT_PC], size, FETCH, at, found, known, left, state)
        state[NEXT_PC] += size
    return DONE


@kernel
def _emit(
    address: np.uint64,
    size: np.uint64,
    op: np.uint8,
    at: Number,
    found: Found,
    known: Known,
    left: Left,
    state: NDArray[np.uint64],
) -> Number:
    """Enter an access; where it becomes a physical one, page by page."""
    if size == np.uint64(0):
        return _leave(left, NO_BYTES, at)
    if state[IS_FILTERED] != np.uint64(0):
        return _leave(left, FILTERED, at)
    if state[TRANSLATE] == np.uint64(0):
        return _enter(address, size, op, at, found, state)
    page_bytes = state[PAGE_BYTES]
    while size > np.uint64(0):
        offset = address & (page_bytes - np.uint64(1))
        piece = min(size, page_bytes - offset)
        frame = frame_of(address // page_bytes, known, state)
        if frame >= NO_FRAME:
            _leave(left, UNTRANSLATED, at)
        else:
            _enter(frame + offset, piece, op, at, found, state)
        address += piece
        size -= piece
    return DONE


@kernel
def _enter(
    address: np.uint64, size: np.uint64, op: np.uint8, at: Number, found: Found, state: NDArray[np.uint64]
) -> Number:
    """Enter one access."""
    out = state[OUT]
    found.address[out] = address
    found.op[out] = op
    found.time[out] = state[TIME]
    found.vcpu[out] = np.uint16(state[VCPU])
    found.size[out] = np.uint32(size)
    found.space[out] = state[PID]
    found.record[out] = np.int32(at)
    state[OUT] = out + np.uint64(1)
    return DONE


@kernel
def _thread(
    kind: Number, value: np.uint64, at: Number, known: Known, left: Left, state: NDArray[np.uint64]
) -> Number:
    """Take in a record of a thread or its process."""
    if kind == KIND_PID:
        slot = slot_of(known.thread, state[THREAD])
        if known.thread[slot] == NONE:
            return NEW_THREAD
        state[PID] = value
        known.thread_pid[slot] = value
        return _leave(left, 24, at)
    state[THREAD] = value
    slot = slot_of(known.thread, value)
    if known.thread[slot] == NONE:
        return NEW_THREAD
    state[PID] = known.thread_pid[slot]
    if kind == KIND_EXIT:
        _leave(left, 23, at)
        return EXITED
    if state[BY_CORE] == np.uint64(0):
        state[VCPU] = known.thread_vcpu[slot]
    return _leave(left, 22, at)


@kernel
def _marker(
    kind: Number, value: np.uint64, at: Number, known: Known, left: Left, state: NDArray[np.uint64]
) -> Number:
    """Take in a marker."""
    status: Number = DONE
    if kind == SAYS_TIMESTAMP:
        state[TIME] = value
    elif kind == SAYS_CPU_ID:
        status = _core(value, known, state)
    elif kind == SAYS_FILETYPE:
        state[FILE_TYPE] = value
        status = FILE_TYPE_SAID
    elif kind == SAYS_WINDOW_ID:
        if state[IS_BIMODAL] != np.uint64(0) and value != state[WINDOW]:
            state[IS_FILTERED] = np.uint64(1)
        state[WINDOW] = value
    elif kind == SAYS_FILTER_ENDPOINT:
        state[IS_FILTERED] = np.uint64(0)
    elif kind == SAYS_PAGE_SIZE or (kind >= SAYS_PHYSICAL and kind <= SAYS_VIRTUAL):
        status = _page_marker(kind, value, at, known, left, state)
    if status == DONE or status == FILE_TYPE_SAID:  # noqa: PLR1714, SIM109 - compiles to less
        _leave(left, TYPE_MARKER, at)
    return status


@kernel
def _core(value: np.uint64, known: Known, state: NDArray[np.uint64]) -> Number:
    """Take in on which core the thread runs; all bits set: it is not known, and stays what it was."""
    if value == NONE or state[BY_CORE] == np.uint64(0):
        return DONE
    state[CORE] = value & CORES
    state[VCPU] = known.core_vcpu[state[CORE]]
    return NEW_CORE if state[VCPU] == NONE else DONE


@kernel
def _page_marker(
    kind: Number, value: np.uint64, at: Number, known: Known, left: Left, state: NDArray[np.uint64]
) -> Number:
    """Take in the size of a page, or where one lies: a physical address, and then the virtual one that it belongs to."""
    if state[TRANSLATE] == np.uint64(0):
        return DONE
    if kind == SAYS_PAGE_SIZE:
        if value < LEAST_PAGE or value > MOST_PAGE or value & (value - np.uint64(1)):
            _leave(left, BAD_PAGE_BYTES, at)
        else:
            state[PAGE_BYTES] = value
        return DONE
    if kind == SAYS_PHYSICAL:
        state[PHYSICAL] = value
        return DONE
    if kind == SAYS_VIRTUAL and state[PHYSICAL] == NONE:
        _leave(left, BAD_PAIR, at)
        return DONE
    frame = NO_FRAME if kind == SAYS_NO_PHYSICAL else state[PHYSICAL] & ~(state[PAGE_BYTES] - np.uint64(1))
    status = map_page(value // state[PAGE_BYTES], frame, known, state)
    if status == DONE:
        state[PHYSICAL] = NONE
    return status
