"""A table of a run, guest by guest, without holding all of it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import OutputError
from eptreplay.tables.files import TABLES_FOLDER, arrow_schema, inside, to_polars
from eptreplay.tables.schema import CORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eptreplay.tables.columns import Table


ROWS_AT_ONCE = 1 << 12
"""Rows that are read at once: a row group has many more, of hundreds of small guests."""


READ_BUFFER = 1 << 16
"""Bytes of a column that are read at once."""


class TableByGuest:
    """The rows of one guest after the other.

    Tables are written in the order of the guests, so reading goes on where it stopped: whoever asks in that order reads
    every row group once, and holds few rows beside those of the guest.  In any other order the rows are the same, and
    take longer.
    """

    def __init__(self, folder: Path, table: Table) -> None:
        """Find where the rows of every guest are.

        Args:
            folder: of the run.
            table: which table; one without rows where the run has no such table.

        Raises:
            OutputError: the file is damaged, or a table is missing that every run has.
        """
        self._path = inside(folder, f"{TABLES_FOLDER}/{table.name}.parquet")
        self._schema = arrow_schema(table)
        self._nothing = to_polars(self._schema.empty_table())
        self._file: Any = None
        self._window = _Window(-1, iter(()))
        sizes: list[int] = []
        if table.name in CORE or self._path.exists():
            try:
                self._file = pq.ParquetFile(self._path, buffer_size=READ_BUFFER)
                missing = set(self._schema.names) - set(self._file.schema_arrow.names)
                if missing:
                    raise OutputError(f"{self._path}: column '{min(missing)}' is missing; replay again")
                about = self._file.metadata
                sizes = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
            except (OSError, pa.ArrowException) as error:
                raise self._damaged(error) from error
        self._first_rows = np.cumsum([0, *sizes])
        self._stretches = self._look_up()

    def of(self, guest: str) -> pl.DataFrame:
        """Return a guest's rows, in their order.

        Raises:
            OutputError: the file is damaged.
        """
        parts = [part for begin, end in self._stretches.get(guest, ()) for part in self._rows(begin, end)]
        if len(parts) == 1:
            return parts[0]
        return pl.concat(parts) if parts else self._nothing

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Return some columns of all rows.

        Raises:
            OutputError: the file is damaged.
        """
        parts = [to_polars(self._read(number, list(names))) for number in range(len(self._first_rows) - 1)]
        return pl.concat(parts) if parts else self._nothing.select(names)

    def _look_up(self) -> dict[str, list[tuple[int, int]]]:
        """Return the stretches of rows of every guest, in their order."""
        found: dict[str, list[tuple[int, int]]] = {}
        for number, first_row in enumerate(self._first_rows[:-1]):
            names = self._read(number, ["guest"])["guest"].combine_chunks().dictionary_encode()
            codes = names.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            known = [str(name) for name in names.dictionary.to_pylist()]
            bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1), len(codes)] if len(codes) else []
            for begin, end in pairwise(bounds):
                guest = known[codes[begin]] if codes[begin] >= 0 else str(None)
                _add(found.setdefault(guest, []), int(first_row + begin), int(first_row + end))
        return found

    def _rows(self, begin: int, end: int) -> Iterator[pl.DataFrame]:
        """Yield rows [begin, end) of the table, in parts."""
        number = int(np.searchsorted(self._first_rows, begin, side="right")) - 1
        while begin < end:
            first = int(self._first_rows[number])
            until = min(end, int(self._first_rows[number + 1]))
            yield from self._part(number, begin - first, until - first)
            begin, number = until, number + 1

    def _part(self, number: int, begin: int, end: int) -> Iterator[pl.DataFrame]:
        """Yield rows [begin, end) of a row group."""
        window = self._window
        if window.number != number or begin < window.begin:
            self._window = _Window(-1, iter(()))  # not two of them at once
            window = self._window = _Window(number, self._batches(number))
        return window.between(begin, end)

    def _batches(self, number: int) -> Iterator[pa.Table]:
        """Yield the rows of a row group, some at a time."""
        try:
            for batch in self._file.iter_batches(
                ROWS_AT_ONCE, row_groups=[number], columns=self._schema.names, use_threads=False
            ):
                yield pa.Table.from_batches([batch]).select(self._schema.names).cast(self._schema)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from error

    def _read(self, number: int, columns: list[str]) -> pa.Table:
        try:
            found = self._file.read_row_group(number, columns=columns, use_threads=False)
            return found.select(columns).cast(pa.schema([self._schema.field(name) for name in columns]))
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> OutputError:
        text = " ".join(str(error).split())
        return OutputError(f"{self._path}: cannot be read ({text}); replay again")


class _Window:
    """The rows of a row group that were read last, as frames, each with the number of its first row in the group."""

    def __init__(self, number: int, rest: Iterator[pa.Table]) -> None:
        self.number = number
        self.begin = 0
        self._end = 0
        self._frames: list[tuple[int, pl.DataFrame]] = []
        self._rest = rest

    def between(self, begin: int, end: int) -> Iterator[pl.DataFrame]:
        """Yield rows [begin, end), which must not begin before the rows that are held; let go of those before them."""
        self._frames = [(first, frame) for first, frame in self._frames if first + len(frame) > begin]
        while self._end < end:
            rows = next(self._rest)
            if self._end + len(rows) > begin:
                self._frames.append((self._end, to_polars(rows)))
            self._end += len(rows)
        self.begin = self._frames[0][0] if self._frames else self._end
        for first, frame in self._frames:
            low, high = max(begin - first, 0), min(end - first, len(frame))
            if low < high:
                yield frame.slice(low, high - low)


def _add(stretches: list[tuple[int, int]], begin: int, end: int) -> None:
    """Add a stretch of rows, which may go on where the one before ends."""
    if stretches and stretches[-1][1] == begin:
        begin = stretches.pop()[0]
    stretches.append((begin, end))
