"""Numbers in other types: signed or wider integers, times with a unit, decimals without a fraction, whole floats, booleans."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eptreplay.ingest.taking.converted import null_mask, of_numbers, read_only
from eptreplay.ingest.trace.ranges import LAST_TIME
from eptreplay.ingest.trace.source import Converted, Unfit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NANOSECONDS = 1_000_000_000
_LATEST_SECONDS = LAST_TIME // _NANOSECONDS


@dataclass(frozen=True, slots=True)
class Integers:
    """Integers of another width or sign; times and durations, whose numbers are kept.

    Args:
        target: the type to make.
    """

    target: np.dtype[Any]

    def __call__(self, array: pa.Array) -> Converted:
        """Convert rows; without a copy where the widths are equal."""
        width = array.type.bit_width
        plain = (
            array
            if pa.types.is_integer(array.type)
            else array.view(pa.int32() if width == 32 else pa.int64())
        )
        nulls = null_mask(plain)
        filled = plain.fill_null(0) if nulls is not None else plain
        return of_numbers(filled.to_numpy(zero_copy_only=True), nulls, self.target)


@dataclass(frozen=True, slots=True)
class Booleans:
    """Booleans as 0 and 1.

    Args:
        target: the type to make.
    """

    target: np.dtype[Any]

    def __call__(self, array: pa.Array) -> Converted:
        """Convert rows."""
        nulls = null_mask(array)
        filled = array.fill_null(value=False) if nulls is not None else array
        return Converted(read_only(filled.to_numpy(zero_copy_only=False).astype(self.target)), nulls, None)


@dataclass(frozen=True, slots=True)
class Decimals:
    """Decimals that have no fraction.

    Args:
        target: the type to make.
    """

    target: np.dtype[Any]

    def __call__(self, array: pa.Array) -> Converted:
        """Convert rows."""
        nulls = null_mask(array)
        filled = array.fill_null(Decimal(0)) if nulls is not None else array
        try:
            values = filled.cast(pa.uint64(), safe=True).to_numpy(zero_copy_only=True)
        except pa.ArrowInvalid:
            return self._one_by_one(filled, nulls)
        return of_numbers(values, nulls, self.target)

    def _one_by_one(self, array: pa.Array, nulls: NDArray[np.bool_] | None) -> Converted:
        """Convert rows of which one does not fit."""
        limit = int(np.iinfo(self.target).max)
        found = array.to_pylist()
        fits = [value == int(value) and 0 <= value <= limit for value in found]
        values = np.array(
            [int(value) if fit else 0 for value, fit in zip(found, fits, strict=True)], self.target
        )
        rows = ~np.array(fits, np.bool_)
        return Converted(read_only(values), nulls, Unfit(rows, f"the value is {found[int(rows.argmax())]}"))


@dataclass(frozen=True, slots=True)
class Floats:
    """Floats that are whole, where every whole number of their size has one; NaN is null, as pandas writes it.

    Args:
        target: the type to make.
    """

    target: np.dtype[Any]

    def __call__(self, array: pa.Array) -> Converted:
        """Convert rows."""
        values = array.to_numpy(zero_copy_only=False)  # nulls become NaN
        exact = 1 << (np.finfo(values.dtype).nmant + 1)
        nulls = np.isnan(values)
        known = np.where(nulls, values.dtype.type(0), values)
        # A float of 2^53 may have been 2^53 + 1 before it was one.
        rows = (
            (known < 0)
            | (known >= min(exact, int(np.iinfo(self.target).max) + 1))
            | (known != np.floor(known))
        )
        unfit = None
        if rows.any():
            first = float(known[int(rows.argmax())])
            too_large = (
                f", and floats from {exact:,} on do not hold every whole number" if first >= exact else ""
            )
            fraction = (
                ""
                if too_large or first < 0
                else "; floats with a fraction are not taken, since rounding would lose it"
            )
            unfit = Unfit(rows, f"the value is {first!r}{too_large or fraction}")
        made = np.where(rows, values.dtype.type(0), known).astype(self.target)
        return Converted(read_only(made), nulls if nulls.any() else None, unfit)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Floats in seconds, rounded to nanoseconds, because a user said so; NaN is null.

    Args:
        target: the type to make.
    """

    target: np.dtype[Any]

    def __call__(self, array: pa.Array) -> Converted:
        """Convert rows."""
        values = array.to_numpy(zero_copy_only=False).astype(np.float64)
        nulls = np.isnan(values)
        known = np.where(nulls, 0.0, values)
        rows = (known < 0) | (known >= _LATEST_SECONDS)
        unfit = None
        if rows.any():
            unfit = Unfit(rows, f"the value is {float(known[int(rows.argmax())])!r} seconds")
        known = np.where(rows, 0.0, known)
        whole = np.floor(known)
        # In two parts: a product of both would lose the digits that the seconds take.
        made = whole.astype(np.uint64) * np.uint64(_NANOSECONDS) + np.rint(
            (known - whole) * _NANOSECONDS
        ).astype(np.uint64)
        return Converted(read_only(made.astype(self.target)), nulls if nulls.any() else None, unfit)
