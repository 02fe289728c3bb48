"""Which column of a file is which of a trace, and what has to be done to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eptreplay.ingest.taking.names import IS_WRITE, find_columns
from eptreplay.ingest.taking.numbers import Booleans, Decimals, Floats, Integers, Seconds
from eptreplay.ingest.taking.text import Digits, Kinds
from eptreplay.ingest.trace.ranges import ColumnRange
from eptreplay.ingest.trace.schema import COLUMNS
from eptreplay.ingest.trace.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eptreplay.ingest.trace.source import Convert

_TEXT = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)
_TIMES = (pa.types.is_timestamp, pa.types.is_duration, pa.types.is_time)
_NUMBERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[np.dtype[Any]], Convert]], ...] = (
    (pa.types.is_integer, Integers),
    (pa.types.is_decimal, Decimals),
    (pa.types.is_floating, Floats),
)
_TYPES = {column.name: column.types for column in COLUMNS}


@dataclass(frozen=True, slots=True)
class Taking:
    """What a user says of the columns of a file.

    Args:
        renamed: names of columns of the file, by column of the schema.
        hexadecimal: whether numbers as text are hexadecimal also without 0x.
        seconds: whether times in floats are seconds, to be rounded to nanoseconds.
        clock_mhz: rate of the time column, if it counts cycles; None: the trace says it, or nothing does.
        verify: whether files are compared with their manifest, which reads them once more.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    hexadecimal: bool = False
    seconds: bool = False
    clock_mhz: float | None = None
    verify: bool = True


AS_IT_IS = Taking()


def range_of(source: Source, low: object, high: object) -> ColumnRange | None:
    """Return smallest and largest value of a column once it is taken, of what statistics say; None if that cannot be told.

    Args:
        source: where the column comes from.
        low: what the footer says, read as an unsigned integer, or text.
        high: likewise.
    """
    if not isinstance(low, int) or not isinstance(high, int):
        return None
    if source.convert is not None:
        if not isinstance(source.convert, Integers):
            return None
        if not pa.types.is_unsigned_integer(source.stored):
            # The footer's bytes were read as unsigned; Parquet has integers of 32 and 64 bits.
            bits = 32 if source.stored.bit_width <= 32 else 64
            low, high = (value - (1 << bits) if value >> (bits - 1) else value for value in (low, high))
        if low < 0 or high > int(np.iinfo(source.convert.target).max):
            return None
    return ColumnRange(low, high)


def sources_of(schema: pa.Schema, taking: Taking = AS_IT_IS) -> list[tuple[str, Source]]:
    """Tell where each column of a trace comes from, by its name, in the order of the schema; one twice if it stands twice."""
    found = []
    fields = list(schema)
    for each in find_columns(schema.names, taking.renamed):
        stored = fields[schema.names.index(each.name)].type
        found.append((each.known, _source(each.known, each.name, stored, each.unit, taking)))
    return found


def _source(known: str, name: str, stored: pa.DataType, named_unit: str | None, taking: Taking) -> Source:
    types = _TYPES[known]
    unit = named_unit
    if known == "time" and any(is_one(stored) for is_one in _TIMES):
        unit = str(stored.unit)
    if known == "time" and taking.seconds and pa.types.is_floating(stored):
        said = f"'{name}' is time in seconds, rounded to nanoseconds"
        return Source(name, stored, types[0], Seconds(np.dtype(np.uint64)), "ns", said)
    if stored in types:
        said = f"'{name}' is {known}" if name != known else ""
        return Source(name, stored, stored, None, unit, said)
    if known == "guest":
        value = stored.value_type if pa.types.is_dictionary(stored) else stored
        is_text = any(is_one(value) for is_one in _TEXT[:3])
        return Source(name, stored, pa.string() if is_text else stored, None)
    target = types[-1]
    convert = _conversion(known, name, stored, target, taking)
    if convert is None:
        return Source(name, stored, stored, None, unit)
    return Source(name, stored, target, convert, unit, _said(known, name, convert))


def _conversion(
    known: str, name: str, stored: pa.DataType, target: pa.DataType, taking: Taking
) -> Convert | None:
    """Return what converts a column; None if nothing does without loss."""
    dtype: np.dtype[Any] = np.dtype(target.to_pandas_dtype())
    value = stored.value_type if pa.types.is_dictionary(stored) else stored
    if any(is_one(value) for is_one in _TEXT):
        return Kinds() if known == "op" else Digits(dtype, taking.hexadecimal)
    if known == "time" and any(is_one(stored) for is_one in _TIMES):
        return Integers(dtype)
    if pa.types.is_boolean(stored):
        return Booleans(dtype) if name.lower() == IS_WRITE else None
    return next((convert(dtype) for is_one, convert in _NUMBERS if is_one(stored)), None)


def _said(known: str, name: str, convert: Convert) -> str:
    """Return what a user should know of a conversion, in words."""
    if isinstance(convert, Booleans):
        return f"'{name}' is op: true is a write, false a read"
    if isinstance(convert, Kinds):
        return f"'{name}' is op in words: read, write and fetch, their first letters, and the like"
    if isinstance(convert, Floats):
        return f"'{name}' is {known} in floats, all of them whole"
    if isinstance(convert, Digits):
        base = "hexadecimal" if convert.hexadecimal else "hexadecimal behind 0x, otherwise decimal"
        return f"'{name}' is {known} in digits, {base}"
    return f"'{name}' is {known}" if name != known else ""
