"""The compiled parts of what makes rows of records: pages numbered as they are first touched, accesses divided, blocks marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.compiled import entry_point, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Table = NDArray[np.uint64]

PAGE = np.uint64(4096)
BLOCK_SHIFT = np.uint64(21)
ONE = np.uint64(1)
FREE = np.uint64(0)
"""Value of a place of the table that no page has; the others have its number + 1."""

# Odd, so that a product keeps what tells pages apart; the first is 2^64 divided by the golden ratio.
PAGE_FACTOR = np.uint64(0x9E3779B97F4A7C15)
SPACE_FACTOR = np.uint64(0xC2B2AE3D27D4EB4F)
HASH_SHIFT = np.uint64(29)


PAGE_WORD, SPACE_WORD, NUMBER_WORD = 0, 1, 2
TABLE_WORDS = 4
"""Words of a place of the table: page, its space, its number + 1, and one that keeps places within a cache line."""


@entry_point
def number_pages(pages: Words, spaces: Words, table: Table, known: int, physical: Words) -> tuple[int, int]:
    """Number pages as they are first touched, until the table is half full.

    Args:
        pages: shape (n,).
        spaces: shape (n,), address space of each; or (0,): one for all.
        table: shape (2^k, TABLE_WORDS), written.
        known: pages in the table.
        physical: shape (n,), number of each page, written as far as pages are looked at.

    Returns:
        How many pages were looked at, all others wait for a larger table; and how many are in the table now.
    """
    space, last, last_space = np.uint64(0), np.uint64(0), np.uint64(0)
    number = FREE
    for i in range(len(pages)):
        if len(spaces) != 0:
            space = spaces[i]
        # Most accesses go where the one before went.
        if number == FREE or pages[i] != last or space != last_space:
            place = _place(pages[i], space, table)
            if table[place, NUMBER_WORD] == FREE:
                if 2 * known >= len(table):
                    return i, known
                known += 1
                table[place, PAGE_WORD], table[place, SPACE_WORD] = pages[i], space
                table[place, NUMBER_WORD] = np.uint64(known)
            number, last, last_space = table[place, NUMBER_WORD], pages[i], space
        physical[i] = number - ONE
    return len(pages), known


@entry_point
def move_pages(table: Table, larger: Table) -> None:
    """Put all pages of a table into an empty, larger one."""
    for i in range(len(table)):
        if table[i, NUMBER_WORD] != FREE:
            place = _place(table[i, PAGE_WORD], table[i, SPACE_WORD], larger)
            for word in range(TABLE_WORDS):
                larger[place, word] = table[i, word]


@kernel
def _place(page: np.uint64, space: np.uint64, table: Table) -> np.int64:
    """Return where a page is in a table, or where it would be."""
    mask = len(table) - 1
    mixed = (page * PAGE_FACTOR) ^ (space * SPACE_FACTOR)
    place = np.int64((mixed ^ (mixed >> HASH_SHIFT)) & np.uint64(mask))
    while table[place, NUMBER_WORD] != FREE and (
        table[place, PAGE_WORD] != page or table[place, SPACE_WORD] != space
    ):
        place = (place + 1) & mask
    return place


@entry_point
def count_pieces(
    address: Words, size: NDArray[np.uint32], granule: np.uint64, pieces: NDArray[np.int64]
) -> None:
    """Count the rows that each access becomes.

    Args:
        address: shape (n,), bytes.
        size: shape (n,), bytes, at least 1.
        granule: bytes within which memory is contiguous, a power of 2; 0: everywhere.
        pieces: shape (n,), is written.
    """
    for i in range(len(address)):
        at, left, count = address[i], np.uint64(size[i]), 0
        while left > np.uint64(0):
            piece = _piece(at, left, granule)
            at, left, count = at + piece, left - piece, count + 1
        pieces[i] = count


@entry_point
def cut_pieces(
    address: Words,
    size: NDArray[np.uint32],
    granule: np.uint64,
    source: NDArray[np.int64],
    piece_address: Words,
    piece_size: NDArray[np.uint16],
) -> None:
    """Divide accesses as `count_pieces` has counted.

    Args:
        address: as there.
        size: as there.
        granule: as there.
        source: shape (m,), is written: the access that each piece is of.
        piece_address: shape (m,), is written.
        piece_size: shape (m,), is written.
    """
    made = 0
    for i in range(len(address)):
        at, left = address[i], np.uint64(size[i])
        while left > np.uint64(0):
            piece = _piece(at, left, granule)
            source[made], piece_address[made], piece_size[made] = i, at, np.uint16(piece)
            at, left, made = at + piece, left - piece, made + 1


@kernel
def _piece(at: np.uint64, left: np.uint64, granule: np.uint64) -> np.uint64:
    """Return the bytes of the next row of an access: all that is left, or what is left of its page."""
    end = at + left - ONE
    together = granule == np.uint64(0) or at & ~(granule - ONE) == end & ~(granule - ONE)
    if left <= PAGE and together:
        return left
    return min(left, PAGE - (at & (PAGE - ONE)))


@entry_point
def mark_blocks(address: Words, size: NDArray[np.uint16], marks: NDArray[np.uint8]) -> None:
    """Mark the 2 MB blocks that accesses touch.

    Args:
        address: shape (n,), bytes, guest-physical.
        size: shape (n,), bytes of each; or (0,): one byte each.
        marks: shape (blocks,), is written: 1 where one is touched.
    """
    for i in range(len(address)):
        marks[address[i] >> BLOCK_SHIFT] = 1
    for i in range(len(size)):
        marks[(address[i] + np.uint64(size[i]) - ONE) >> BLOCK_SHIFT] = 1
