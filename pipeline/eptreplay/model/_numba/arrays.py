"""Declarations: the fields of a record and the arrays of a structure, each in one place.

A declaration says the name, the type, the shape, the unit, who may write it, and what it means.  Everything else follows from it:
the numpy type, the memory, what compiled code sees (pointer.py), and how a whole structure is saved and loaded.

An owner is a file of model/ without its suffix: only owners write the field, or the elements of the array
(tests/test_owners.py).  What is written when the structure is made, and never again, is owned by the file that makes it.

The names in the shape of an array are the lengths of its axes.  They are the legend of the dimensions, and mean the same
in every structure and every docstring:

    instances      profiles that are replayed at once, each in a state of its own
    guests         guests of the host
    guest_pages    pages of all guests, in flat numbers (instances.py); guest_blocks, regions: their 2 MB blocks
    vcpus          vCPUs of all guests, in flat numbers
    objects        vm_objects of all guests
    pv_chunks      pages of pv entries; pv_entries: _NPCPV a chunk; pv_chunk_words: _NPCM a chunk
    frames         physical pages of the host that hold data; frame_blocks, reservations: their 2 MB blocks
    entries        page-table entries, 512 per page-table page, by slot; of Tlbs: cached translations
    rows           rows of a batch of the trace; chunk: those that the access loop scans at once
    kinds          of access: read, write, fetch
    one            a single record
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
        owner: the files that may write it, separated by blanks.
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
        shared: whether structures that are stacked share this one array.
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
    """Make a class that declares arrays a structure of them, which compiled code sees as a pointer (pointer.py).

    Beside its arrays it has `places`, the table of their addresses and shapes.
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


def saved(structure: Any) -> dict[str, NDArray[Any]]:
    """Return copies of all arrays of a structure by name, as plain arrays: what is to be kept of it."""
    return {
        name: np.asarray(_copy(getattr(structure, name), each.dtype))
        for name, each in arrays_in(type(structure)).items()
    }


def loaded_arrays(
    cls: type[Any], kept: Mapping[str, NDArray[Any]], shared: Mapping[str, NDArray[Any]] | None = None
) -> dict[str, Any]:
    """Return in new memory the arrays of a structure that `saved` returned.

    Args:
        cls: the structure.
        kept: the arrays by name.
        shared: arrays that the structure has in common with another one, which are taken as they are.
    """
    common = dict(shared or {})
    return {
        name: common[name] if name in common else _copy(kept[name], each.dtype)
        for name, each in arrays_in(cls).items()
    }


def _copy(original: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """Return a copy of an array; records have their fields as attributes.

    Bytes are copied, padding included: numpy would copy records field by field, 20 times slower.

    Raises:
        TypeError: the elements are of another type.
    """
    if original.dtype != dtype:
        raise TypeError(f"elements are {original.dtype}, not {dtype}")
    copy = zeros(original.shape, dtype)
    _bytes_of(copy)[:] = _bytes_of(original)
    return copy


def _bytes_of(whole: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a view of the bytes of an array."""
    return whole.view(np.ndarray).reshape(-1).view(np.uint8)


def loaded(
    cls: type[Structure], kept: Mapping[str, NDArray[Any]], shared: Mapping[str, NDArray[Any]] | None = None
) -> Structure:
    """Return a structure of the arrays that `saved` returned; see loaded_arrays.  Of a stacked one see state.stacked."""
    return assembled(cls, loaded_arrays(cls, kept, shared))


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
    """Return the table of the addresses and shapes of the arrays of one structure, or of several that are stacked."""
    return table_of_places(cls.element_types, rows)
