"""Writing and reading the tables of a run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import OutputError, UsageError
from eptreplay.safe_text import neutral
from eptreplay.tables.other_names import other_names
from eptreplay.tables.run_schema import check_run
from eptreplay.tables.schema import CORE, TABLES, csv_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from eptreplay.tables.columns import Table

TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "bool": pa.bool_(),
    "double": pa.float64(),
}
ROWS_AT_ONCE = 1 << 16
PARTS_AT_ONCE = 64
"""Parts of a table that wait to be written, at the most: a part of a few rows takes more memory than they do."""

RUN_FILE = "run.json"
TABLES_FOLDER = "tables"

SLUG_LENGTH = 48


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow schema of a table."""
    return pa.schema([(column.name, TYPES[column.type]) for column in table.columns])


def as_rows(table: Table, columns: Mapping[str, Any]) -> pa.Table:
    """Return rows of a table that are given as columns.

    Raises:
        OverflowError: a number does not fit its column.
        pyarrow.ArrowException: a value is not of the type of its column.
    """
    schema = arrow_schema(table)
    return pa.Table.from_arrays(
        [pa.array(columns[field.name], field.type) for field in schema], schema=schema
    )


class TableWriter:
    """Writes one table as Parquet and CSV, some guests at a time, so that memory does not grow with the guests.

    As a context it is closed at the end, also after an error.
    """

    def __init__(self, folder: Path, table: Table) -> None:
        self._table = table
        self._schema = arrow_schema(table)
        self._parquet = pq.ParquetWriter(folder / f"{table.name}.parquet", self._schema, compression="zstd")
        self._csv = (folder / f"{table.name}.csv").open("wb")
        self._csv.write((",".join(map(neutral, csv_names(table))) + "\n").encode())
        self._others = other_names(table.name)
        self._waiting: list[pa.Table] = []
        self._rows_waiting = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            self.close()
        else:
            self.let_go()

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append rows, given as columns."""
        self.append(as_rows(self._table, columns))

    def append(self, rows: pa.Table) -> None:
        """Append rows, given as an Arrow table with the columns of this one in any order."""
        fits = rows.schema.equals(self._schema)
        self._waiting.append(rows if fits else rows.select(self._schema.names).cast(self._schema))
        self._rows_waiting += len(rows)
        if self._rows_waiting >= ROWS_AT_ONCE:
            self._write_out()
        elif len(self._waiting) >= PARTS_AT_ONCE:
            self._waiting = [pa.concat_tables(self._waiting).combine_chunks()]

    def _write_out(self) -> None:
        """Write what is waiting."""
        arrow = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        self._waiting = []
        self._rows_waiting = 0
        self._parquet.write_table(arrow)
        frame = to_polars(arrow)
        frame.with_columns(
            *(_neutral(name) for name, kind in frame.schema.items() if kind == pl.String),
            *(pl.sum_horizontal(parts).alias(name) for name, parts in self._others.items()),
        ).write_csv(self._csv, include_header=False)

    def close(self) -> None:
        """Finish both files."""
        self._write_out()
        self._parquet.close()
        self._csv.close()

    def let_go(self) -> None:
        """Close both files as they are, if that was not done: after an error, which is worth more than another one."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._parquet.close()
        with contextlib.suppress(OSError):
            self._csv.close()


def _neutral(name: str) -> pl.Expr:
    """Return a text column in which no cell is a formula, or steers a terminal."""
    return pl.col(name).map_batches(_all_neutral, return_dtype=pl.String)


def _all_neutral(cells: pl.Series) -> pl.Series:
    """Return cells as CSV has them; few are different, and fewer are not neutral as they are."""
    changed = {cell: neutral(cell) for cell in cells.unique() if cell is not None}
    changed = {cell: instead for cell, instead in changed.items() if cell != instead}
    return cells.replace(changed) if changed else cells


def write_columns_file(folder: Path) -> None:
    """Write what every column of every table is, as CSV."""
    rows = [(table.name, *column) for table in TABLES for column in table.columns]
    pl.DataFrame(rows, ["table", "column", "type", "unit", "meaning"], orient="row").write_csv(
        folder / "columns.csv"
    )


def slug(name: str) -> str:
    """Return a file name for a guest or profile: what is harmless of its name, and a digest of all of it."""
    harmless = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:SLUG_LENGTH]
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{harmless}-{digest}" if harmless else digest


def write_run_file(folder: Path, run: Mapping[str, Any]) -> None:
    """Write what was replayed, and how, as JSON."""
    text = json.dumps(run, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / RUN_FILE).write_text(text + "\n", encoding="utf-8")


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in the folder of a run, which may come from somebody else: no link leads out of it.

    Args:
        folder: of the run; may itself be reached by a link.
        name: path in it, with slashes.

    Raises:
        OutputError: the file, or a folder on the way to it, is a link, or the file is no file.
    """
    path = folder
    parts = PurePosixPath(name).parts
    for part in parts:
        path /= part
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return folder.joinpath(*parts)
        except OSError as error:
            raise OutputError(f"{path}: cannot be looked at ({error.strerror})") from error
        if not (
            stat.S_ISREG(mode) if len(parts) == len(path.relative_to(folder).parts) else stat.S_ISDIR(mode)
        ):
            raise OutputError(
                f"{path}: is {'a link' if stat.S_ISLNK(mode) else 'something else than a run has there'}, which is not followed; "
                "give a run as eptreplay wrote it"
            )
    return path


def read_run_file(folder: Path) -> dict[str, Any]:
    """Return what was replayed, and how.

    Raises:
        UsageError: the folder is not one that `eptreplay replay` wrote.
        OutputError: run.json is not as eptreplay writes it, or a link.
    """
    path = inside(folder, RUN_FILE)
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{folder}: no run of eptreplay ({RUN_FILE}: {error}); give the folder that 'replay --out' wrote"
        ) from error
    check_run(run, str(path))
    for kind in ("guests", "profiles"):
        for number, each in enumerate(run[kind]):
            if each["slug"] != slug(each["name"]):
                raise OutputError(
                    f"{path}: {kind}[{number}].slug: is {each['slug']!r:.80}, expected {slug(each['name'])!r}; "
                    "this run was not written by eptreplay as it is, replay again"
                )
    return run


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def read_table(folder: Path, table: Table) -> pl.DataFrame:
    """Return a table of a run; one without rows where the run has no such table.

    Raises:
        OutputError: the file is damaged, a link, or has other columns, or a table is missing that every run has.
    """
    path = inside(folder, f"{TABLES_FOLDER}/{table.name}.parquet")
    schema = arrow_schema(table)
    if table.name not in CORE and not path.exists():
        return to_polars(schema.empty_table())
    try:
        missing = set(schema.names) - set(pq.read_schema(path).names)
        if missing:
            raise OutputError(f"{path}: column '{min(missing)}' is missing; replay again")
        return to_polars(pq.read_table(path, schema=schema))
    except (OSError, pa.ArrowException) as error:
        text = " ".join(str(error).split())
        raise OutputError(f"{path}: cannot be read ({text}); replay again") from error


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Return an Arrow table as a frame."""
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):  # what polars' types allow, a table never is
        raise TypeError(type(frame))
    return frame
