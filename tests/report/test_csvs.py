"""The table behind a chart: plain numbers, no index, nothing that a spreadsheet would run."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.report.downloads import text_of

from eptreplay.report.charts.csvs import cell, columns_text, csv_text, frame_text, link, name_in, texts
from eptreplay.safe_text import printable


@pytest.mark.parametrize("text", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_neutralised(text: str) -> None:
    assert cell(text) == f"'{printable(text)}"


@pytest.mark.parametrize(
    ("value", "written"), [(3.0, 3), (0.1, "0.1"), (-2, -2), ("guest", "guest"), (None, None)]
)
def test_numbers_and_plain_text_are_left_alone(value: object, written: object) -> None:
    assert cell(value) == written


def test_a_file_has_its_header_and_rows_as_utf8() -> None:
    found = csv_text(["interval", "=haswell [exits]"], [[0, 1.5], [1, ""], [2, "é, ü"]])
    assert found == 'interval,\'=haswell [exits]\n0,1.5\n1,\n2,"é, ü"\n'


def test_columns_of_numbers_are_whole_where_all_are_and_none_is_nothing() -> None:
    columns = [("=a", np.array([1.0, np.nan, 3e15])), ("b, c", np.array([0.1 + 0.2, 2.0, np.nan]))]
    assert columns_text(columns) == '\'=a,"b, c"\n1,0.3\n,2.0\n3000000000000000,\n'


@pytest.mark.parametrize(
    "columns",
    [
        {"=a": [0, None, -5], "b": pl.Series([2**64 - 1, 0, None], dtype=pl.UInt64)},
        {"a": [0, 1], "b": [0.1 + 0.2, 3.0]},
        {"a": [0, 1], "b": ["=1", None]},
        {"a": pl.Series([], dtype=pl.Int64)},
    ],
)
def test_a_frame_is_written_as_its_cells_are(columns: dict[str, list[object]]) -> None:
    frame = pl.DataFrame(columns)
    assert frame_text(frame) == csv_text(frame.columns, frame.rows())


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


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "100 %,#1\n<b>,%0A\n", '"é, ""ü",\'x&y\n'])
def test_a_link_holds_what_was_put_in_and_says_its_name(text: str) -> None:
    href = link("exits", text)
    assert name_in(href) == "exits.csv"
    assert text_of(href) == text
