"""State in compiled code: one pointer, as a C program would pass it.

Numba passes a NamedTuple of arrays by value: seven words an array, at every call.  The state has twenty arrays, so
calls cost more than what is called, and the compiler drowns in arguments.  So the state carries a table, a row a
world, with the address and the length of each of its arrays; in compiled code it is a pointer to a row.  `st.page`
there loads two words, which never change while a kernel runs, and is an array like any other.

Without compiling (NUMBA_DISABLE_JIT) nothing of this is in use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import extending as _extending
from numba.core import types as _types
from numba.core.typing import templates as _templates
from numba.np import arrayobj as _arrayobj

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

arrays: Any = _arrayobj  # they publish no types
extending: Any = _extending
templates: Any = _templates
types: Any = _types

WORD = ir.IntType(64)
WORDS_PER_ARRAY = 2  # address, length
TABLE = types.Array(types.int64, 2, "C")


def table_of_places(worlds: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.int64]:
    """Return the table that leads compiled code to the arrays of every world, which must outlive it.

    Args:
        worlds: for every world its arrays, each of one dimension and without gaps.

    Returns:
        Shape [worlds, 2 arrays + 1]: address and length of each; in the end the number of worlds.
    """
    rows = [[word for array in world for word in (array.ctypes.data, len(array))] for world in worlds]
    return np.array([[*row, len(rows)] for row in rows], np.int64)


class PointerType(types.Type):  # type: ignore[misc]  # numba publishes no types
    """A pointer to a row of such a table."""

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        """Take the element type of every array, in order."""
        super().__init__(name=name)
        self.array_types = {
            field: types.Array(numba.from_dtype(dtype), 1, "C") for field, dtype in fields.items()
        }
        self.order = list(fields)

    @property
    def words(self) -> int:
        """Words of a row."""
        return WORDS_PER_ARRAY * len(self.order) + 1


@extending.register_model(PointerType)
class _PointerModel(extending.models.PrimitiveModel):  # type: ignore[misc]  # numba publishes no types
    """Its machine type."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, WORD.as_pointer())


@templates.infer_getattr
class _ArrayOf(templates.AttributeTemplate):  # type: ignore[misc]  # numba publishes no types
    """The type of `st.name`."""

    key = PointerType

    def generic_resolve(self, kind: PointerType, name: str) -> Any:
        return kind.array_types.get(name)


def _word(builder: Any, row: Any, index: int) -> Any:
    """Load a word of a row, and let the compiler know that it stays what it is."""
    loaded = builder.load(builder.gep(row, [WORD(index)]))
    loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


def _array_of(context: Any, builder: Any, kind: PointerType, row: Any, name: str) -> Any:
    """Return the code of `st.name`."""
    array_type = kind.array_types[name]
    place = WORDS_PER_ARRAY * kind.order.index(name)
    array = arrays.make_array(array_type)(context, builder)
    width = context.get_abi_sizeof(context.get_data_type(array_type.dtype))
    arrays.populate_array(
        array,
        data=builder.inttoptr(_word(builder, row, place), array.data.type),
        shape=[_word(builder, row, place + 1)],
        strides=[WORD(width)],
        itemsize=WORD(width),
        meminfo=None,
    )
    return array._getvalue()  # noqa: SLF001 - how numba's own code takes a struct's value


def _unbox(_kind: PointerType, state: Any, c: Any) -> Any:
    """Return the code that takes the pointer out of a State."""
    places = c.pyapi.object_getattr_string(state, "places")
    table = c.unbox(TABLE, places)
    c.pyapi.decref(places)  # the State keeps it
    data = arrays.make_array(TABLE)(c.context, c.builder, table.value).data
    return extending.NativeValue(data, is_error=table.is_error)


def passed_as_pointer(cls: type, fields: Mapping[str, Any]) -> None:
    """Let compiled code see instances of a NamedTuple, `fields` and then `places`, as pointers."""
    kind = PointerType(cls.__name__, fields)
    extending.typeof_impl.register(cls)(lambda _value, _context: kind)


def _row(_typing: Any, states: Any, number: Any) -> Any:  # noqa: ARG001 - its type is what it is made to
    """Return the state of one world, of the states of several."""

    def code(_context: Any, builder: Any, signature: Any, values: Any) -> Any:
        step = WORD(signature.args[0].words)
        return builder.gep(values[0], [builder.mul(values[1], step)])

    return states(states, types.int64), code


def _rows(_typing: Any, states: Any) -> Any:
    """Return how many worlds there are."""

    def code(_context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _word(builder, values[0], signature.args[0].words - 1)

    return types.int64(states), code


extending.lower_getattr_generic(PointerType)(_array_of)
extending.unbox(PointerType)(_unbox)
row: Any = extending.intrinsic(_row)
rows: Any = extending.intrinsic(_rows)
