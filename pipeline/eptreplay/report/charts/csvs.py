"""The table behind a chart, as CSV beside the page."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import polars as pl

from eptreplay.safe_text import neutral

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CSV_FOLDER = "csv"


def cell(value: Any) -> Any:  # noqa: ANN401 - whatever a table holds
    """Return a value as it is written: text is neutral to spreadsheets and terminals."""
    if isinstance(value, str):
        return neutral(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else f"{value:.9g}"
    return value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table with its header as UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(name) for name in header])
    # Most cells are whole numbers, which need no call of their own.
    writer.writerows([value if type(value) is int else cell(value) for value in row] for row in rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame with its header, as `write_csv` does; one of whole numbers alone without a look at every cell."""
    if not all(kind.is_integer() for kind in frame.dtypes):
        write_csv(path, frame.columns, frame.rows())
        return
    with path.open("wb") as file:
        _write_names(file, frame.columns)
        frame.write_csv(file, include_header=False)


def _write_names(file: BinaryIO, names: Sequence[str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(cell, names))
    file.write(text.getvalue().encode())


def write_columns(path: Path, columns: Sequence[tuple[str, NDArray[np.float64]]]) -> None:
    """Write columns of numbers with their names: whole ones as such, others to nine digits, and none as nothing."""
    whole = [not np.any(np.mod(values[np.isfinite(values)], 1)) for _, values in columns]
    frame = pl.DataFrame([pl.Series(str(number), values) for number, (_, values) in enumerate(columns)])
    with path.open("wb") as file:
        _write_names(file, [name for name, _ in columns])
        # One query for all columns: what a query of its own costs is more than what it does.
        frame.select(_numbers(str(at), whole=of) for at, of in enumerate(whole)).write_csv(
            file, include_header=False
        )


def _numbers(name: str, *, whole: bool) -> pl.Expr:
    found = pl.col(name).fill_nan(None)
    return found.cast(pl.Int64) if whole else found.round_sig_figs(9)
