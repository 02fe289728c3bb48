"""Guest-physical memory for foreign addresses: pages numbered as they are touched, page maps, and the segments that come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from eptreplay.ingest.importing.page_numbers import TABLE_WORDS, mark_blocks, move_pages, number_pages
from eptreplay.ingest.trace.schema import GPA_BITS, PAGE_SIZE, Segment
from eptreplay.ingest.trace.segments import MOST_SEGMENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

BLOCK_BYTES = 1 << 21
FIRST_TABLE = 1 << 16
NOWHERE = np.uint64(2**64 - 1)
"""What stands for the address of what has none."""


class Memory(Protocol):
    """Where foreign addresses lie in guest-physical memory.

    Attributes:
        granule: bytes within which memory stays contiguous; 0: everywhere.
    """

    granule: int

    def place(self, address: Words, space: Words | None) -> Words:
        """Return the guest-physical address of each, NOWHERE for one that has none.

        Args:
            address: shape (n,), bytes.
            space: shape (n,), address space of each; None: one for all.
        """

    def touched(self, gpa: Words, size: NDArray[np.uint16] | None) -> None:
        """Take note of accesses, by address and bytes, each of shape (n,); none goes beyond what a guest can address."""

    def segments(self) -> tuple[Segment, ...]:
        """Return the memory layout: what was touched."""


class AsItIs:
    """Guest-physical addresses: memory is the 2 MB blocks that were touched."""

    def __init__(self) -> None:
        self.granule = 0
        # The system gives pages of it when they are written.
        self._marks = np.zeros(1 << (GPA_BITS - 21), np.uint8)
        self._low, self._end = len(self._marks), 0

    def place(self, address: Words, space: Words | None) -> Words:  # noqa: ARG002 - there is one space
        """Return the addresses."""
        return address

    def touched(self, gpa: Words, size: NDArray[np.uint16] | None) -> None:
        """Mark blocks."""
        mark_blocks(gpa, np.zeros(0, np.uint16) if size is None else size, self._marks)
        self._low = min(self._low, int(gpa.min()) // BLOCK_BYTES)
        self._end = max(
            self._end, int(gpa.max()) // BLOCK_BYTES + 2
        )  # the last access may cross into the next block

    def segments(self) -> tuple[Segment, ...]:
        """Return runs of touched blocks; where there are too many, the smallest gaps between them count as memory."""
        marks = self._low + np.flatnonzero(self._marks[self._low : self._end])
        breaks = np.flatnonzero(np.diff(marks) > 1)
        if len(breaks) >= MOST_SEGMENTS:
            gaps = np.diff(marks)[breaks]
            breaks = np.sort(breaks[np.argsort(gaps, kind="stable")[-(MOST_SEGMENTS - 1) :]])
        firsts = marks[np.concatenate([[0], breaks + 1])].tolist()
        lasts = marks[np.concatenate([breaks, [len(marks) - 1]])].tolist()
        return tuple(
            Segment(first * BLOCK_BYTES, (last - first + 1) * BLOCK_BYTES, "ram")
            for first, last in zip(firsts, lasts, strict=True)
        )


class Dense:
    """Pages numbered from 0 as they are first touched.

    Args:
        page_bytes: bytes of a page, a power of 2, at least 4096: addresses in one stay together.
    """

    def __init__(self, page_bytes: int) -> None:
        self.granule = page_bytes
        self._shift = np.uint64(page_bytes.bit_length() - 1)
        self._known = 0
        self._table = _table(FIRST_TABLE)

    def place(self, address: Words, space: Words | None) -> Words:
        """Number the pages that are new; return where each address lies."""
        pages = address >> self._shift
        spaces = np.zeros(0, np.uint64) if space is None else np.ascontiguousarray(space)
        numbers = np.empty(len(pages), np.uint64)
        done = 0
        while True:
            looked_at, self._known = number_pages(
                pages[done:], spaces[done:], self._table, self._known, numbers[done:]
            )
            done += looked_at
            if done == len(pages):
                break
            larger = _table(4 * len(self._table))
            move_pages(self._table, larger)
            self._table = larger
        inside = np.uint64(self.granule - 1)
        placed: Words = (numbers << self._shift) | (address & inside)
        return placed

    def touched(self, gpa: Words, size: NDArray[np.uint16] | None) -> None:
        """Do nothing: what is numbered is touched."""

    def segments(self) -> tuple[Segment, ...]:
        """Return one segment of as many pages as were touched."""
        return (Segment(0, self._known * self.granule, "ram"),)


class PageMap(AsItIs):
    """Virtual pages at the physical places that a page map gives.

    Args:
        virtual: shape (n,), first bytes of virtual pages, ascending.
        physical: shape (n,), first bytes of their physical pages.
        page_bytes: bytes of a page.
    """

    def __init__(self, virtual: Words, physical: Words, page_bytes: int = PAGE_SIZE) -> None:
        super().__init__()
        self.granule = page_bytes
        self._virtual = virtual
        self._physical = physical

    def place(self, address: Words, space: Words | None) -> Words:  # noqa: ARG002 - a map is of one space
        """Look addresses up."""
        inside = np.uint64(self.granule - 1)
        page = address & ~inside
        at = np.minimum(np.searchsorted(self._virtual, page), len(self._virtual) - 1)
        placed: Words = np.where(self._virtual[at] == page, self._physical[at] | (address & inside), NOWHERE)
        return placed


def _table(places: int) -> Words:
    """Return an empty table of so many places, a power of 2; see `page_numbers.number_pages`."""
    return np.zeros((places, TABLE_WORDS), np.uint64)
