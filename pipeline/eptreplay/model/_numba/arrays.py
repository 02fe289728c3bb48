"""Declarations: the fields of a record and the arrays of a structure, each in one place.

A declaration says the name, the type, the shape, the unit, who may write it, and what it means.  Everything else follows from it:
the numpy type, the memory, what compiled code sees (pointer.py), and that a whole structure can be saved and loaded.

An owner is a file of model/ without its ending, or several: the only ones that write the field or the elements of the array
(tests/test_owners.py).  What is written when the structure is made, and never again, is owned by the file that makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, dataclass_transform

import numpy as np

from eptreplay.model._numba.pointer import passed_as_pointer, table_of_places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eptreplay.model._numba.types import Records

Structure = TypeVar("Structure")
KEY = "array"


class Field(NamedTuple):
    """One field of a record.

    Args:
        name: as the kernel has it, where it has one.
        type: of an element.
        unit: of the value; empty where it has none.
        owner: who may write it, separated by blanks.
        meaning: in a few words.
        shape: of a field that is an array.
    """

    name: str
    type: type[np.generic]
    unit: str
    owner: str
    meaning: str
    shape: int | tuple[int, ...] = ()


class Array(NamedTuple):
    """One array of a structure.

    Args:
        dtype: of an element.
        shape: a name for the length along each axis.
        unit: of an element; empty where it has none, or is a record.
        owner: who may write its elements; empty: those who own the fields of the records.
        meaning: in a few words.
        shared: whether all that are stacked share this one.
    """

    dtype: np.dtype[Any]
    shape: tuple[str, ...]
    unit: str
    owner: str
    meaning: str
    shared: bool


def record_type(declared: Sequence[Field]) -> np.dtype[Any]:
    """Return the numpy type of a record, laid out as a C compiler would."""
    return np.dtype([(each.name, each.type, each.shape) for each in declared], align=True)


def array(
    dtype: np.dtype[Any] | type[np.generic],
    *shape: str,
    owner: str = "",
    meaning: str,
    unit: str = "",
    shared: bool = False,
) -> Any:
    """Declare an array of a structure; see Array."""
    return field(metadata={KEY: Array(np.dtype(dtype), shape, unit, owner, meaning, shared)})


@dataclass_transform(frozen_default=True, field_specifiers=(array,))
def structure_of_arrays(cls: type[Structure]) -> type[Structure]:
    """Make a structure of arrays of a class that declares them; compiled code sees a pointer (pointer.py).

    Beside its arrays it has `places`, the table of where they are.
    """
    made: Any = dataclass(frozen=True, slots=True)(cls)
    made.declared = {each.name: each.metadata[KEY] for each in fields(made) if KEY in each.metadata}
    made.element_types = {name: (each.dtype, len(each.shape)) for name, each in made.declared.items()}
    passed_as_pointer(made, made.element_types)
    whole: type[Structure] = made
    return whole


def arrays_in(cls: type[Any]) -> dict[str, Array]:
    """Return the arrays that a structure declares, by name, in order."""
    declared: dict[str, Array] = cls.declared
    return declared


def zeros(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return zeroed memory, which costs nothing until it is touched; records have their fields as attributes."""
    return records(shape, dtype) if dtype.names else np.zeros(shape, dtype)


def records(shape: int | tuple[int, ...], dtype: np.dtype[Any]) -> Records:
    """Return zeroed records of a structured type, with their fields as attributes."""
    return np.zeros(shape, dtype).view(np.recarray)


def allocated(
    cls: type[Any],
    lengths: Mapping[str, int],
    given: Mapping[str, Any] | None = None,
    stack: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Return the arrays of a structure by name: `given` ones, and zeros.

    Args:
        cls: the structure.
        lengths: by the names that shapes have for them.
        given: arrays that are there already.
        stack: axes before those of the declared shape, where several structures are stacked; not of shared arrays.
    """
    found = dict(given or {})
    return {
        name: found[name]
        if name in found
        else zeros((*(() if each.shared else stack), *(lengths[axis] for axis in each.shape)), each.dtype)
        for name, each in arrays_in(cls).items()
    }


def assembled(cls: type[Structure], arrays: Mapping[str, Any]) -> Structure:
    """Return a structure of these arrays.

    Raises:
        TypeError: an array is not what its declaration says.
    """
    in_order = {name: arrays[name] for name in arrays_in(cls)}
    made: Any = cls
    whole: Structure = made(**in_order, places=places_of(cls, [list(in_order.values())]))
    return whole


def places_of(cls: type[Any], rows: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.int64]:
    """Return the table of where the arrays of one structure, or of several that are stacked, are."""
    return table_of_places(cls.element_types, rows)
