"""Rows of small frames, without a query: what a query of polars costs is a hundred times what it does with a few rows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rows_where(frame: pl.DataFrame, good: pl.Series | NDArray[np.bool_]) -> pl.DataFrame:
    """Return the rows for which something is so."""
    at = np.flatnonzero(np.asarray(good))
    if not len(at) or at[-1] - at[0] + 1 == len(at):  # one stretch, as it is most often
        return frame.slice(int(at[0]) if len(at) else 0, len(at))
    return frame[at]


def rows_with(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the rows that have a value in a column."""
    return rows_where(frame, frame[name].is_not_null())


def parts_of(frame: pl.DataFrame, *names: str) -> dict[tuple[Any, ...], pl.DataFrame]:
    """Return the rows by what they have in some columns, in the order in which that comes first."""
    parts: dict[tuple[Any, ...], pl.DataFrame] = {}
    at = 0
    for key, group in itertools.groupby(zip(*(frame[name].to_list() for name in names), strict=True)):
        length = sum(1 for _ in group)
        if key in parts:  # not one stretch for each
            return frame.partition_by(names, as_dict=True, maintain_order=True)
        parts[key] = frame.slice(at, length)
        at += length
    return parts


def ordered(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Return rows in the order of columns without nulls, the first one foremost; they are in it most often."""
    order = np.lexsort([frame[name].to_numpy() for name in reversed(names)])
    return frame if np.array_equal(order, np.arange(len(frame))) else frame.sort(names)


def without(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Return a frame without some of its columns."""
    return pl.DataFrame([column for column in frame.get_columns() if column.name not in names])
