"""The table behind a chart: plain numbers, no index, nothing that a spreadsheet would run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from eptreplay.report.charts.csvs import cell, texts, write_columns, write_csv, write_frame
from eptreplay.safe_text import printable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("text", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_neutralised(text: str) -> None:
    assert cell(text) == f"'{printable(text)}"


@pytest.mark.parametrize(
    ("value", "written"), [(3.0, 3), (0.1, "0.1"), (-2, -2), ("guest", "guest"), (None, None)]
)
def test_numbers_and_plain_text_are_left_alone(value: object, written: object) -> None:
    assert cell(value) == written


def test_a_file_has_its_header_and_rows_as_utf8(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["interval", "=haswell [exits]"], [[0, 1.5], [1, ""], [2, "é, ü"]])
    assert (tmp_path / "a.csv").read_bytes().decode() == 'interval,\'=haswell [exits]\n0,1.5\n1,\n2,"é, ü"\n'


def test_columns_of_numbers_are_whole_where_all_are_and_none_is_nothing(tmp_path: Path) -> None:
    columns = [("=a", np.array([1.0, np.nan, 3e15])), ("b, c", np.array([0.1 + 0.2, 2.0, np.nan]))]
    write_columns(tmp_path / "a.csv", columns)
    assert (tmp_path / "a.csv").read_text() == '\'=a,"b, c"\n1,0.3\n,2.0\n3000000000000000,\n'


@pytest.mark.parametrize(
    "columns",
    [
        {"=a": [0, None, -5], "b": pl.Series([2**64 - 1, 0, None], dtype=pl.UInt64)},
        {"a": [0, 1], "b": [0.1 + 0.2, 3.0]},
        {"a": [0, 1], "b": ["=1", None]},
        {"a": pl.Series([], dtype=pl.Int64)},
    ],
)
def test_a_frame_is_written_as_its_cells_are(tmp_path: Path, columns: dict[str, list[object]]) -> None:
    frame = pl.DataFrame(columns)
    write_frame(tmp_path / "a.csv", frame)
    write_csv(tmp_path / "b.csv", frame.columns, frame.rows())
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_cells_of_numbers_are_those_of_one_query_for_each_column() -> None:
    columns = [
        np.array([0.0, -0.0, -7.0, 2.0**53]),
        np.array([1e-7, np.nan, 2.5e-5, 1 / 3]),
        np.array([np.nan] * 4),
        np.array([1e18, 2.0**63, 1.0, 0.5]),
        np.array([np.nan, 3.0, np.nan, -4.0]),
    ]
    assert texts(columns) == [
        ["0", "0", "-7", "9007199254740992"],
        ["1e-7", "", "0.000025", "0.333333333"],
        [""] * 4,
        ["1e+18", "9.22337204e+18", "1.0", "0.5"],
        ["", "3", "", "-4"],
    ]
    assert texts([np.array([]), np.array([])]) == [[], []]
