"""The making of converted columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.ingest.trace.source import Converted, Unfit

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from eptreplay.ingest.trace.source import Mask


def null_mask(array: pa.Array) -> Mask | None:
    """Return which rows are null; None if none is."""
    return array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array that cannot be written, like views of Arrow buffers, so that kernels see one type."""
    values.flags.writeable = False
    return values


def of_numbers(values: NDArray[Any], nulls: Mask | None, target: np.dtype[Any]) -> Converted:
    """Return whole numbers in an unsigned type.

    Args:
        values: shape (n,), integers of any width, signed or not; 0 where null.
        nulls: shape (n,), which rows are null.
        target: the type.
    """
    if values.dtype == target:
        return Converted(values, nulls, None)
    unfit = None
    limit = int(np.iinfo(target).max)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > limit:
        rows = values < 0
        if high > limit:
            rows = rows | (values > limit)
        first = int(values[int(rows.argmax())])
        unfit = Unfit(rows, f"the value is {first}")
        values = np.where(rows, values.dtype.type(0), values)
    if values.dtype.itemsize == target.itemsize:
        return Converted(read_only(values.view(target)), nulls, unfit)
    return Converted(read_only(values.astype(target)), nulls, unfit)
