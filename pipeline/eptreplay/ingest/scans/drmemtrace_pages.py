"""Hashed tables of a drmemtrace trace: threads, and where pages lie in physical memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.compiled import entry_point, kernel
from eptreplay.ingest.scans.drmemtrace_layout import (
    DONE,
    MORE_PAGES,
    NO_FRAME,
    NONE,
    PAGES,
    PID,
    Known,
)

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Number: TypeAlias = int | np.int64


@kernel
def hash_of(key: np.uint64, length: Number) -> Number:
    """Return a place in a table of a power of two of entries."""
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ mixed >> np.uint64(32)) & np.uint64(length - 1))


@kernel
def slot_of(keys: NDArray[np.uint64], key: np.uint64) -> Number:
    """Return the place of a key in a table, or the free place where it belongs."""
    at = hash_of(key, len(keys))
    while keys[at] != key and keys[at] != NONE:
        at = (at + 1) & (len(keys) - 1)
    return at


@entry_point
def find(keys: NDArray[np.uint64], key: np.uint64) -> Number:
    """Return the place of a key in a table, or the free place where it belongs."""
    return slot_of(keys, key)


@kernel
def _page_slot(page: np.uint64, pid: np.uint64, known: Known) -> Number:
    """Return the place of a page of a process, or the free place where it belongs."""
    at = hash_of(page ^ pid << np.uint64(40), len(known.page))
    while known.page[at] != NONE and not (known.page[at] == page and known.page_pid[at] == pid):
        at = (at + 1) & (len(known.page) - 1)
    return at


@kernel
def frame_of(page: np.uint64, known: Known, state: NDArray[np.uint64]) -> np.uint64:
    """Return the physical address of a page; NO_FRAME or NONE if it is not known."""
    at = _page_slot(page, state[PID], known)
    return known.frame[at] if known.page[at] != NONE else NO_FRAME


@kernel
def map_page(page: np.uint64, frame: np.uint64, known: Known, state: NDArray[np.uint64]) -> Number:
    """Enter the physical address of a page."""
    owner = state[PID]
    at = _page_slot(page, owner, known)
    if known.page[at] == NONE:
        if 2 * (state[PAGES] + np.uint64(1)) > np.uint64(len(known.page)):
            return MORE_PAGES
        known.page[at], known.page_pid[at] = page, owner
        state[PAGES] += np.uint64(1)
    known.frame[at] = frame
    return DONE


@entry_point
def map_pages(
    pages: NDArray[np.uint64],
    owners: NDArray[np.uint64],
    frames: NDArray[np.uint64],
    known: Known,
    state: NDArray[np.uint64],
) -> None:
    """Enter pages, for which there is room; NONE among them are none.

    Args:
        pages: shape (n,), page numbers.
        owners: shape (n,), their processes.
        frames: shape (n,), their physical addresses.
        known: takes them.
        state: counts them.
    """
    pid = state[PID]
    for number in range(len(pages)):
        if pages[number] != NONE:
            state[PID] = owners[number]
            map_page(pages[number], frames[number], known, state)
    state[PID] = pid
