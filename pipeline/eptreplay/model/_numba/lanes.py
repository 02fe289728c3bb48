"""Eight entries of a TLB at once, in vector registers.

A set that is kept in order of use is shifted at every use, as far as the entry that was used; with random accesses the
processor cannot predict how far.  So a group of entries is compared, shifted and stored as one vector, without a branch,
whatever is found.  LLVM makes of that what the processor has: one register of 512 bits, two of 256 bits, four of 128 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba.core import types as _types
from numba.extending import intrinsic

from eptreplay.compiled import config

if TYPE_CHECKING:
    from numpy.typing import NDArray

types: Any = _types  # numba publishes no types

LANES = 8  # entries of a group
ALL_LANES = np.uint64((1 << LANES) - 1)
ENTRY_BYTES = 8
LOW_BYTE = np.uint64(0xFF)

WORD = ir.IntType(64)
GROUP = ir.VectorType(WORD, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)
BITS = ir.IntType(LANES)
BYTES = ir.VectorType(ir.IntType(8), LANES)
LANE_NUMBERS = ir.VectorType(ir.IntType(32), LANES)


def _all(builder: Any, word: Any) -> Any:
    """Return a group of which every lane is a word."""
    undefined = ir.Constant(GROUP, ir.Undefined)
    first = builder.insert_element(undefined, word, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(LANE_NUMBERS, [0] * LANES))


def _low_byte_of_any(builder: Any, group: Any) -> Any:
    """Return the lowest byte of the one lane of a group that is not 0."""
    together = builder.bitcast(builder.trunc(group, BYTES), WORD)
    total = builder.mul(together, WORD(0x0101_0101_0101_0101))  # of all bytes, in the highest
    return builder.lshr(total, WORD(56))


def _move_up(
    _typing: Any, entries: Any, at: Any, key: Any, before: Any, ignored: Any, kept: Any, lanes: Any
) -> Any:
    """Return the types and the code of `move_up` for numba."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, at_value, key_value, before_value, ignored_value, kept_value, lanes_value = values
        data = context.make_array(signature.args[0])(context, builder, array).data
        place = builder.bitcast(builder.gep(data, [at_value]), GROUP.as_pointer())
        old = builder.load(place, align=ENTRY_BYTES)
        wanted = builder.or_(key_value, ignored_value)
        same = builder.icmp_unsigned(
            "==", builder.or_(old, _all(builder, ignored_value)), _all(builder, wanted)
        )
        found = builder.zext(builder.bitcast(same, BITS), WORD)
        # Up to the lane that was found, all without one.
        moving = builder.and_(builder.xor(found, builder.sub(found, WORD(1))), lanes_value)
        moving = builder.bitcast(builder.trunc(moving, BITS), MASK)
        bits = _low_byte_of_any(builder, builder.select(same, old, ir.Constant(GROUP, [0] * LANES)))
        first = builder.or_(before_value, builder.and_(bits, kept_value))
        shifted = builder.shuffle_vector(
            old, _all(builder, first), ir.Constant(LANE_NUMBERS, [LANES, *range(LANES - 1)])
        )
        builder.store(builder.select(moving, shifted, old), place, align=ENTRY_BYTES)
        last = builder.extract_element(old, ir.IntType(32)(LANES - 1))
        return context.make_tuple(builder, signature.return_type, [found, bits, last])

    return types.UniTuple(types.uint64, 3)(entries, at, key, before, ignored, kept, lanes), code


def move_up_slowly(
    entries: NDArray[np.uint64],
    at: np.uint64,
    key: np.uint64,
    before: np.uint64,
    ignored: np.uint64,
    kept: np.uint64,
    lanes: np.uint64,
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Stand in for `move_up` where nothing is compiled."""
    group = entries[int(at) : int(at) + LANES]
    old = group.copy()
    (places,) = np.nonzero((old | ignored) == (key | ignored))
    number = int(places[0]) if len(places) else LANES
    bits = old[number] & LOW_BYTE if len(places) else np.uint64(0)
    moving = min(number + 1, int(lanes).bit_count())
    group[:moving] = [before | (bits & kept), *old][:moving]
    return np.uint64((1 << number) & int(ALL_LANES)), bits, old[LANES - 1]


move_up: Any = move_up_slowly if config.DISABLE_JIT else intrinsic(_move_up)
"""Shift a group of entries up by one lane, as far as the entry that is wanted, or all of them; return what was found.

Args:
    entries: shape [entries]; the group begins at index `at`.
    key: the entry wanted, which no two lanes are.
    before: what comes into the first lane.
    ignored: bits in which an entry may differ from `key`.
    kept: bits of the lowest byte that the first lane gets of the entry found.
    lanes: a bit for each lane that may be shifted, from the first on.

Returns:
    A bit for the lane where the entry was, 0: nowhere; the lowest byte of it; the entry that was in the last lane.
"""
