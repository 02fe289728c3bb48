"""The table behind a chart, as CSV in a link of the page: a page is complete by itself, and a guest is one file, not thirty."""

from __future__ import annotations

import csv
import io
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from eptreplay.safe_text import neutral

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CSV_FOLDER = "csv"
"""Where older versions kept these tables as files."""

DATA, NAME = "data:text/csv;charset=utf-8", ";name="
LINK = re.compile(f'href="{DATA}{NAME}[^",]*,[^"]*" download="([^"]+)"')
ENCODED = tuple((character, f"%{ord(character):02X}") for character in '%\n "#<>')
"""What would end a link, or mean something in it; the first begins a code itself."""

MOST_WHOLE = 2.0**63
"""Numbers from which one is not written as a whole number."""


def cell(value: Any) -> Any:  # noqa: ANN401 - whatever a table holds
    """Return a value as it is written: text is neutral to spreadsheets and terminals."""
    if isinstance(value, str):
        return _neutral(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else f"{value:.9g}"
    return value


@lru_cache(maxsize=4096)
def _neutral(text: str) -> str:
    """Return text that is neutral; most is the same in every file of a kind."""
    return neutral(text)


def link(name: str, text: str) -> str:
    """Return the link that holds a table as CSV, which is to be saved under a name."""
    for character, code in ENCODED:
        text = text.replace(character, code)
    return f"{DATA}{NAME}{name}.csv,{text}"


def name_in(href: str) -> str:
    """Return the name under which what a link holds is to be saved."""
    return href.partition(NAME)[2].partition(",")[0]


def each_once(page: str) -> str:
    """Return a page in which a table that several charts show is held by the link of the first; those of the others lead there."""
    known: set[str] = set()

    def instead(found: re.Match[str]) -> str:
        name = found[1]
        if name in known:
            return f'href="#csv-{name}"'
        known.add(name)
        return f'id="csv-{name}" {found[0]}'

    return LINK.sub(instead, page)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with its header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(name) for name in header])
    # Most cells are whole numbers, which need no call of their own.
    writer.writerows([value if type(value) is int else cell(value) for value in row] for row in rows)
    return text.getvalue()


def frame_text(frame: pl.DataFrame) -> str:
    """Return a frame with its header, as `csv_text` does; one of whole numbers alone without a look at every cell."""
    whole = all(kind.is_integer() for kind in frame.dtypes)
    if not whole or any(column.null_count() for column in frame):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([cell(name) for name in frame.columns])
        writer.writerows(zip(*map(_cells, frame), strict=True))
        return text.getvalue()
    return texts_text(frame.columns, [list(map(str, column.to_list())) for column in frame])


def _cells(column: pl.Series) -> list[Any]:
    """Return the cells of a column as they are written."""
    return column.to_list() if column.dtype.is_integer() else list(map(cell, column.to_list()))


def texts_text(names: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """Return columns of cells that are text already, none of which needs quotes, with their names."""
    lines = [_names(names), *map(",".join, zip(*columns, strict=True)), ""]
    return "\n".join(lines)


def columns_text(columns: Sequence[tuple[str, NDArray[np.float64]]]) -> str:
    """Return columns of numbers with their names: see `texts`."""
    return texts_text([name for name, _ in columns], texts([values for _, values in columns]))


def texts(columns: Sequence[NDArray[np.float64]]) -> list[list[str]]:
    """Return columns of numbers as cells: whole ones as such, others to nine digits, and none as nothing.

    A column is whole if all of its numbers are.
    """
    found = [_whole(values) for values in columns]
    rest = [number for number, of in enumerate(found) if of is None]
    if rest:
        # One query for all columns: what a query of its own costs is more than what it does.  The last column keeps a line
        # with nothing in it from being quoted.
        frame = pl.DataFrame({str(number): columns[number] for number in rest})
        frame = frame.select(pl.all().fill_nan(None).round_sig_figs(9), pl.lit(0).alias("last"))
        lines = frame.write_csv(include_header=False).split("\n")[:-1]
        cells = zip(*(line.split(",") for line in lines), strict=True) if lines else [()] * len(rest)
        for number, of in zip(rest, cells, strict=False):
            found[number] = list(of)
    return [of or [] for of in found]


def _whole(values: NDArray[np.float64]) -> list[str] | None:
    """Return the cells of a column of whole numbers; None if not all are."""
    known = ~np.isnan(values)
    numbers = values if known.all() else values[known]
    if np.any(np.abs(numbers) >= MOST_WHOLE) or np.any(numbers != np.floor(numbers)):
        return None
    cells = map(str, numbers.astype(np.int64).tolist())
    return (
        list(cells) if numbers is values else [next(cells) if is_known else "" for is_known in known.tolist()]
    )


def write(path: Path, text: str) -> None:
    """Write a file, whatever was there before, as UTF-8."""
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123 - of 60,000 files, each is a third slower as a path
        file.write(text.encode())


def _names(names: Sequence[str]) -> str:
    """Return names as the first line of a file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(map(cell, names))
    return text.getvalue()
