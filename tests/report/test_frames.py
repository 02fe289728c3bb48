"""Rows of small frames: the same as the query that they stand for."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from eptreplay.report.read.frames import ordered, parts_of, rows_where, rows_with, without

FRAME = pl.DataFrame(
    {"guest": ["g"] * 5, "a": [2, 1, None, 1, 2], "b": ["x", "y", "y", None, "x"], "c": [4, 3, 5, 1, 2]}
)


@pytest.mark.parametrize("good", ["11111", "00000", "01110", "10101", "00001"])
def test_rows_for_which_something_is_so(good: str) -> None:
    mask = np.array([letter == "1" for letter in good])
    assert rows_where(FRAME, mask).equals(FRAME.filter(mask))
    assert rows_where(FRAME, pl.Series(mask)).equals(FRAME.filter(mask))


def test_rows_with_a_value() -> None:
    assert rows_with(FRAME, "a").equals(FRAME.drop_nulls("a"))
    assert rows_with(FRAME, "c").equals(FRAME)


@pytest.mark.parametrize("names", [["a"], ["b"], ["a", "b"], ["guest"], ["c"]])
@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_parts_by_columns_in_the_order_they_come(names: list[str], rows: int) -> None:
    frame = FRAME.head(rows)
    parts = frame.partition_by(names, as_dict=True, maintain_order=True)
    found = parts_of(frame, *names)
    assert list(found) == list(parts)
    assert all(found[key].equals(parts[key]) for key in parts)


def test_rows_in_order() -> None:
    assert ordered(FRAME, "c").equals(FRAME.sort("c"))
    assert ordered(FRAME, "guest", "c").equals(FRAME.sort("guest", "c"))
    assert ordered(FRAME.sort("c"), "c").equals(FRAME.sort("c"))
    assert ordered(FRAME.clear(), "c").equals(FRAME.clear())


def test_without_columns() -> None:
    assert without(FRAME, "guest", "b").equals(FRAME.drop("guest", "b"))
    assert without(FRAME, "none").equals(FRAME)
