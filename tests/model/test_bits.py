"""Questions to 64 bytes at once have the answers of 64 questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.compiled import entry_point
from eptreplay.model._numba import bits as _bits
from eptreplay.model._numba.bits import BYTES, bytes_having, list_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.model._numba.types import Int


@entry_point
def listed_having(
    array: NDArray[np.uint8], begin: int, end: int, bits: np.uint8, listed: NDArray[np.int32]
) -> Int:
    """List the bytes [begin, end) that have any of the bits; return how many they are."""
    count: Int = 0
    for first in range(begin, end, BYTES):
        count = list_bits(bytes_having(array, first, end, bits), first, listed, count)
    return count


@given(st.data(), st.integers(1, 5 * BYTES), st.integers(1, 255), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_bytes_that_have_a_bit_are_listed_in_order(
    data: st.DataObject, length: int, bits: int, share: float
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    array = np.where(rng.random(length) < share, rng.integers(0, 256, length), 0).astype(np.uint8)
    begin = data.draw(st.integers(0, length))
    end = data.draw(st.integers(begin, length))
    listed = np.zeros(length, np.int32)
    count = listed_having(array, begin, end, np.uint8(bits), listed)
    assert listed[:count].tolist() == (begin + np.flatnonzero(array[begin:end] & bits)).tolist()


@pytest.mark.parametrize("word", [1, 2, 1 << 63, (1 << 64) - 1, 0x5050])
def test_the_lowest_bit_in_plain_python_is_the_lowest(word: int) -> None:
    assert _bits._lowest_slowly(np.uint64(word)) == next(i for i in range(64) if word >> i & 1)
