"""Structures of arrays in compiled code: one pointer each, as a C program would pass them.

Numba would pass a NamedTuple of arrays by value: five words per array and two more per dimension, at every call.  The state
has twenty arrays, so a call would cost more than what is called, and the compiler would spend its time on arguments.  So a
structure carries a table with the address and the shape of each of its arrays, and in compiled code it is a pointer to a row
of that table.  The table of the state has one row per instance, those of other structures have one row.  `st.page` then loads
two words, which never change while a kernel runs, and is an array like any other.

Without compiling (NUMBA_DISABLE_JIT) nothing of this is used.
"""

from __future__ import annotations

from dataclasses import fields
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

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
TABLE = types.Array(types.int64, 2, "C")
Fields: TypeAlias = "Mapping[str, tuple[np.dtype[Any], int]]"
"""The arrays of a structure by name: type of the elements, and dimensions."""


def table_of_places(fields: Fields, rows: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.int64]:
    """Return the table through which compiled code finds arrays, which must live as long as the table is used.

    Args:
        fields: what the arrays of every row are.
        rows: the arrays of every row, in the order of the fields.

    Returns:
        Shape [rows, words]: address and shape of each array, one after the other; the last word is the number of rows.

    Raises:
        TypeError: an array is not what its field says.
    """
    table = []
    for arrays_of_row in rows:
        for (name, (dtype, dimensions)), array in zip(fields.items(), arrays_of_row, strict=True):
            if array.dtype != dtype or array.ndim != dimensions or not array.flags.c_contiguous:
                raise TypeError(
                    f"{name} is {array.dtype} {array.shape}, not {dtype} in {dimensions} dimensions"
                )
        words = [word for array in arrays_of_row for word in (array.ctypes.data, *array.shape)]
        table.append([*words, len(rows)])
    return np.array(table, np.int64)


def arrays_of(structure: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays of a structure by name, without the table of their places."""
    names = [field.name for field in fields(structure) if field.name != "places"]
    return {name: getattr(structure, name) for name in names}


class PointerType(types.Type):  # type: ignore[misc]  # numba publishes no types
    """A pointer to a row of such a table."""

    def __init__(self, name: str, fields: Fields) -> None:
        """Take what the arrays are, in order."""
        super().__init__(name=name)
        self.array_types = {
            field: types.Array(numba.from_dtype(dtype), dimensions, "C")
            for field, (dtype, dimensions) in fields.items()
        }
        lengths = [1 + dimensions for _, dimensions in fields.values()]
        self.place = dict(zip(fields, accumulate(lengths, initial=0), strict=False))
        self.words = sum(lengths) + 1


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
    """Load a word of a row, and tell the compiler that it never changes."""
    loaded = builder.load(builder.gep(row, [WORD(index)]))
    loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
    return loaded


def _array_of(context: Any, builder: Any, kind: PointerType, row: Any, name: str) -> Any:
    """Return the code of `st.name`."""
    array_type = kind.array_types[name]
    place = kind.place[name]
    array = arrays.make_array(array_type)(context, builder)
    width = WORD(context.get_abi_sizeof(context.get_data_type(array_type.dtype)))
    shape = [_word(builder, row, place + 1 + axis) for axis in range(array_type.ndim)]
    strides = [width]
    for length in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], length))
    arrays.populate_array(
        array,
        data=builder.inttoptr(_word(builder, row, place), array.data.type),
        shape=shape,
        strides=strides,
        itemsize=width,
        meminfo=None,
    )
    return array._getvalue()  # noqa: SLF001 - how numba's own code takes a struct's value


def _unbox(_kind: PointerType, state: Any, c: Any) -> Any:
    """Return the code that takes the pointer out of a Python object."""
    places = c.pyapi.object_getattr_string(state, "places")
    table = c.unbox(TABLE, places)
    c.pyapi.decref(places)  # the instance keeps it
    data = arrays.make_array(TABLE)(c.context, c.builder, table.value).data
    return extending.NativeValue(data, is_error=table.is_error)


def passed_as_pointer(cls: Any, fields: Fields) -> None:
    """Let compiled code see objects of a class with `fields` and `places` (table_of_places) as pointers."""
    cls._numba_type_ = PointerType(cls.__name__, fields)


def _row(_typing: Any, states: Any, number: Any) -> Any:  # noqa: ARG001 - its type is what it is made to
    """Return the types and the code of `row(states, number)` for numba: the state of one of several instances."""

    def code(_context: Any, builder: Any, signature: Any, values: Any) -> Any:
        step = WORD(signature.args[0].words)
        return builder.gep(values[0], [builder.mul(values[1], step)])

    return states(states, types.int64), code


def _rows(_typing: Any, states: Any) -> Any:
    """Return the types and the code of `rows(states)` for numba: how many instances there are."""

    def code(_context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _word(builder, values[0], signature.args[0].words - 1)

    return types.int64(states), code


extending.lower_getattr_generic(PointerType)(_array_of)
extending.unbox(PointerType)(_unbox)
row: Any = extending.intrinsic(_row)
rows: Any = extending.intrinsic(_rows)
