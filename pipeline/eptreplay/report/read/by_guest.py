"""A table of a run, guest by guest, without holding all of it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pd
import pyarrow.parquet as pq

from eptreplay.errors import OutputError
from eptreplay.tables.files import TABLES_FOLDER, arrow_schema, inside, to_polars
from eptreplay.tables.schema import CORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eptreplay.tables.columns import Table


class TableByGuest:
    """The rows of one guest after the other.

    Tables are written in the order of the guests, so the row group that was read last is kept: whoever asks in that
    order reads every row group once. In any other order the rows are the same, and take longer.
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
        self._groups: list[Any] = []
        self._last: tuple[int, pl.DataFrame] = (-1, self._nothing)
        if table.name in CORE or self._path.exists():
            try:
                missing = set(self._schema.names) - set(pq.read_schema(self._path).names)
                if missing:
                    raise OutputError(f"{self._path}: column '{min(missing)}' is missing; replay again")
                (fragment,) = pd.dataset(self._path, self._schema, format="parquet").get_fragments()
                self._groups = fragment.split_by_row_group()
            except (OSError, pa.ArrowException) as error:
                raise self._damaged(error) from error
        self._first_rows = np.cumsum([0, *(group.row_groups[0].num_rows for group in self._groups)])
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
        parts = [to_polars(self._read(number, list(names))) for number in range(len(self._groups))]
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
        """Yield rows [begin, end) of the table, one part per row group."""
        number = int(np.searchsorted(self._first_rows, begin, side="right")) - 1
        while begin < end:
            first = int(self._first_rows[number])
            until = min(end, int(self._first_rows[number + 1]))
            yield self._group(number).slice(begin - first, until - begin)
            begin, number = until, number + 1

    def _group(self, number: int) -> pl.DataFrame:
        if self._last[0] != number:
            self._last = (-1, self._nothing)  # not two of them at once
            self._last = (number, to_polars(self._read(number, self._schema.names)))
        return self._last[1]

    def _read(self, number: int, columns: list[str]) -> pa.Table:
        try:
            return self._groups[number].to_table(schema=self._schema, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> OutputError:
        text = " ".join(str(error).split())
        return OutputError(f"{self._path}: cannot be read ({text}); replay again")


def _add(stretches: list[tuple[int, int]], begin: int, end: int) -> None:
    """Add a stretch of rows, which may go on where the one before ends."""
    if stretches and stretches[-1][1] == begin:
        begin = stretches.pop()[0]
    stretches.append((begin, end))
