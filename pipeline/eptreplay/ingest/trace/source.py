"""Where a column of a trace comes from, and what becomes of one that is not stored as the schema says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Values = NDArray[np.unsignedinteger]
    Mask = NDArray[np.bool_]


class Unfit(NamedTuple):
    """Values that the schema's type cannot hold.

    Args:
        rows: shape (n,), which they are, at least one.
        found: what the first of them is, in words.
    """

    rows: Mask
    found: str


class Converted(NamedTuple):
    """A column converted; arrays are read-only.

    Args:
        values: shape (n,), of a type of the schema; 0 where there is none.
        nulls: shape (n,), which rows are null; None: none.
        unfit: which values do not fit; None: all do.
    """

    values: Values
    nulls: Mask | None
    unfit: Unfit | None


class Convert(Protocol):
    """Turns consecutive rows of a column into a type of the schema, without loss: what does not fit is said, not changed."""

    def __call__(self, array: pa.Array) -> Converted:
        """Convert rows of shape (n,), n > 0."""


class Source(NamedTuple):
    """Where a column of a trace comes from.

    Args:
        column: its name in the file.
        stored: its type there.
        type: its type once it is taken: one of the schema's, or what is stored if that cannot be converted.
        convert: what makes the one of the other; None: they are the same, or nothing does.
        unit: the unit of time that its type or name says; None: neither does.
        said: what a user should know of it, in words; empty: the values are the same.
    """

    column: str
    stored: pa.DataType
    type: pa.DataType
    convert: Convert | None
    unit: str | None = None
    said: str = ""
