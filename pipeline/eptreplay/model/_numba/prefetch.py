"""Prefetching: asking the processor for memory before it is needed.

What an access of the slow path needs is scattered over arrays far larger than a cache.  Each of its few loads waits some
hundred nanoseconds for memory, although a dozen could be under way at once.  So the loops ask for what the accesses ahead will
need (LLVM's llvm.prefetch).  A prefetch changes nothing and cannot fault.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils as _cgutils
from numba.core import types
from numba.extending import intrinsic

from eptreplay.compiled import config

cgutils: Any = _cgutils  # numba publishes no types

READ = 0  # arguments of llvm.prefetch: for reading,
KEEP = 3  # into all levels of cache,
DATA = 1  # data


def _prefetch(_typing: Any, array: Any, index: Any) -> Any:
    """Return the types and the code of `prefetch(array, index)` for numba."""

    def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = signature.args[0]
        place = cgutils.get_item_pointer(
            context, builder, kind, context.make_array(kind)(context, builder, values[0]), [values[1]]
        )
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [pointer, number, number, number]),
            "llvm.prefetch.p0",
        )
        builder.call(function, [builder.bitcast(place, pointer), number(READ), number(KEEP), number(DATA)])
        return context.get_dummy_value()

    return types.void(array, index), code


def _nothing(_array: object, _index: object) -> None:
    """Stand in for `prefetch` where nothing is compiled."""


prefetch: Any = _nothing if config.DISABLE_JIT else intrinsic(_prefetch)
"""Ask for the memory of `array[index]`; the index is not negative, and within the array."""
