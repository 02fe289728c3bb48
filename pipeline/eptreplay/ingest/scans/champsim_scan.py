"""The pass over the records of a ChampSim trace: an instruction each, with the addresses that it loads from and stores to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.compiled import entry_point

if TYPE_CHECKING:
    from numpy.typing import NDArray

READ, WRITE, FETCH = np.uint8(0), np.uint8(1), np.uint8(2)
_FLAGS = np.uint64(0xFEFE)
"""Bits of the two bytes after the instruction pointer, is_branch and branch_taken, that are never set."""

NO_ADDRESS, BAD_FLAGS = 0, 1
"""Counters of what is left out: instructions without a pointer, and what is none."""


@entry_point
def scan_instructions(
    words: NDArray[np.uint64],
    record_words: int,
    stores: int,
    address: NDArray[np.uint64],
    op: NDArray[np.uint8],
    ends: NDArray[np.int32],
    left: NDArray[np.int64],
    first: NDArray[np.int64],
) -> int:
    """Enter the accesses of instructions: the fetch, then four loads, then the stores; an address of 0 is none.

    Args:
        words: shape (n * record_words,), the records.
        record_words: 8-byte words of a record.
        stores: how many addresses of stores a record has room for, 2 or 4.
        address: takes addresses; this and the next one have room for n * (5 + stores) + 1.
        op: takes kinds.
        ends: shape (n,), takes the number of accesses up to the end of each record.
        left: shape (2,), takes how many are left out.
        first: shape (2,), takes the first one of them.

    Returns:
        The number of accesses.
    """
    out = 0
    store_word = 2 if stores == 2 else 3
    load_word = store_word + stores
    for number in range(len(words) // record_words):
        begin = number * record_words
        if words[begin + 1] & _FLAGS:
            if left[BAD_FLAGS] == 0:
                first[BAD_FLAGS] = number
            left[BAD_FLAGS] += 1
            ends[number] = out
            continue
        if words[begin] == 0:
            if left[NO_ADDRESS] == 0:
                first[NO_ADDRESS] = number
            left[NO_ADDRESS] += 1
        # Written whether it is one or not: what is none is written over by the next, which costs less than a branch.
        address[out], op[out] = words[begin], FETCH
        out += words[begin] != 0
        for word in range(begin + load_word, begin + load_word + 4):
            address[out], op[out] = words[word], READ
            out += words[word] != 0
        for word in range(begin + store_word, begin + load_word):
            address[out], op[out] = words[word], WRITE
            out += words[word] != 0
        ends[number] = out
    return out


@entry_point
def spread_spaces(
    words: NDArray[np.uint64],
    record_words: int,
    asid_word: int,
    ends: NDArray[np.int32],
    space: NDArray[np.uint64],
) -> None:
    """Enter the address space of a record for each of its accesses.

    Args:
        words: shape (n * record_words,), the records.
        record_words: 8-byte words of a record.
        asid_word: the word with the address space in its two lowest bytes.
        ends: shape (n,), accesses up to the end of each record.
        space: takes address spaces, shape (ends[-1],).
    """
    begin = 0
    for number in range(len(ends)):
        asid = words[number * record_words + asid_word] & np.uint64(0xFFFF)
        for each in range(begin, ends[number]):
            space[each] = asid
        begin = ends[number]
