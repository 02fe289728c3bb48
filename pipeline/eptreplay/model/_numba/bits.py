"""Sixty-four bytes at once: which of them have a bit set, and the positions of those, in order.

What a loop looks for is rare among what it looks at.  Testing 64 bytes at once, and visiting the bits that are set in the
result, takes a fraction of the time of 64 tests.  There is a second reason.  Where a list is written one row at a time, every
store goes to an address that depends on the row before, and a processor that must not speculate about stores (speculative
store bypass disabled) lets no later load go ahead until that address is known.  With a guest far larger than the cache, that
took six times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba.core import types as _types
from numba.extending import intrinsic

from eptreplay.compiled import config, kernel
from eptreplay.model._numba.types import ONE, ZERO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.model._numba.types import Int

types: Any = _types  # numba publishes no types

BYTES = 64
WORD = ir.IntType(64)
BYTE = ir.IntType(8)
GROUP = ir.VectorType(BYTE, BYTES)


def _having(_typing: Any, array: Any, at: Any, bits: Any) -> Any:  # noqa: ARG001 - their types are what they are made to
    """Return the types and the code of `having(array, at, bits)` for numba."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        place = builder.bitcast(builder.gep(data, [values[1]]), GROUP.as_pointer())
        undefined = ir.Constant(GROUP, ir.Undefined)
        first = builder.insert_element(undefined, values[2], ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), BYTES), [0] * BYTES)
        wanted = builder.shuffle_vector(first, undefined, zeros)
        found = builder.and_(builder.load(place, align=1), wanted)
        return builder.bitcast(builder.icmp_unsigned("!=", found, ir.Constant(GROUP, [0] * BYTES)), WORD)

    return types.uint64(array, types.int64, types.uint8), code


def _having_slowly(array: NDArray[np.uint8], at: Int, bits: np.uint8) -> np.uint64:
    """Stand in for `having` where nothing is compiled."""
    return np.uint64(sum(1 << i for i in range(BYTES) if array[at + i] & bits))


def _lowest(_typing: Any, word: Any) -> Any:  # noqa: ARG001 - likewise
    """Return the types and the code of `lowest(word)` for numba."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.cttz(values[0], ir.IntType(1)(1))

    return types.uint64(types.uint64), code


def _lowest_slowly(word: np.uint64) -> np.uint64:
    """Stand in for `lowest` where nothing is compiled."""
    return np.uint64((int(word) & -int(word)).bit_length() - 1)


having: Any = _having_slowly if config.DISABLE_JIT else intrinsic(_having)
"""Return a word of which bit i is set if array[at + i] has any of `bits` set; all 64 bytes are in the array."""

lowest: Any = _lowest_slowly if config.DISABLE_JIT else intrinsic(_lowest)
"""Return the number of the lowest bit that is set in a word, which is not 0."""


@kernel
def bytes_having(array: NDArray[np.uint8], begin: Int, end: Int, bits: np.uint8) -> np.uint64:
    """Return a word of which bit i is set if array[begin + i] has any of `bits` set, for those of 64 bytes before `end`."""
    if begin + BYTES <= len(array):
        return having(array, begin, bits) & first_bits(end - begin)
    word = np.uint64(0)
    for i in range(begin, min(begin + BYTES, end)):
        word |= np.uint64(array[i] & bits != 0) << np.uint64(i - begin)
    return word


@kernel
def first_bits(count: Int) -> np.uint64:
    """Return a word of which the lowest `count` bits are set; all of them for 64 or more."""
    return ~ZERO if count >= BYTES else (ONE << np.uint64(count)) - ONE


@kernel
def list_bits(word: np.uint64, first: Int, listed: NDArray[np.int32], count: Int) -> Int:
    """Append `first` plus the number of each bit that is set in a word to a list of length `count`; return its new length."""
    place = np.uint64(count)
    rest = word
    while rest != 0:
        listed[place] = np.uint64(first) + lowest(rest)
        place += ONE
        rest &= rest - ONE
    return np.int64(place)
