"""Rows sorted by time, those of one time in the order they have, in bounded memory: sorted runs on disk, which are then merged."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.errors import OutputError
from eptreplay.ingest.parquet.file import one_line

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

RUN_ROWS = 1 << 21
"""Rows that are sorted at a time: about 100 MB with their copies."""

MERGED_ROWS = 1 << 20
"""Rows of all runs together that are in memory while they are merged."""

MOST_RUNS = 64
"""Runs that are merged at a time; more are merged in several steps."""


def sorted_by_time(batches: Iterable[Columns], beside: Path) -> Generator[Columns, None, None]:
    """Yield rows in the order of their times; rows of one time stay in order.

    Args:
        batches: columns by name, each of shape (n,), `time` among them; all batches have the same ones.
        beside: a file in whose folder runs are kept meanwhile, under a hidden name; nothing is left of them.

    Raises:
        OutputError: a run cannot be written or read.
    """
    with _folder(beside) as folder:
        runs: list[Path] = []
        first: Columns | None = None
        for run in _runs(batches):
            if first is None and not runs:
                first = run  # if it stays the only one, it need not be written
                continue
            if first is not None:
                runs.append(_written(iter([first]), folder / "0"))
                first = None
            runs.append(_written(iter([run]), folder / str(len(runs))))
        if first is not None:
            yield first
            return
        step = 0
        while len(runs) > MOST_RUNS:
            step += 1
            groups = [runs[begin : begin + MOST_RUNS] for begin in range(0, len(runs), MOST_RUNS)]
            runs = [
                _written(_merged(group), folder / f"{step}-{number}") for number, group in enumerate(groups)
            ]
        yield from _merged(runs)


def _runs(batches: Iterable[Columns]) -> Iterator[Columns]:
    """Yield sorted runs of about RUN_ROWS rows."""
    waiting: list[Columns] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch["time"])
        if rows >= RUN_ROWS:
            yield _sorted(waiting)
            waiting, rows = [], 0
    if rows:
        yield _sorted(waiting)


def _sorted(parts: Sequence[Columns]) -> Columns:
    """Return the rows of several parts, sorted."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    time = columns["time"]
    if bool((time[1:] >= time[:-1]).all()):
        return columns
    order = np.argsort(time, kind="stable")
    return {name: values[order] for name, values in columns.items()}


def _written(batches: Iterator[Columns], path: Path) -> Path:
    """Write rows into a file whose row groups are small enough that one of every run fits into memory."""
    writer: pq.ParquetWriter | None = None
    try:
        for columns in batches:
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(path, table.schema, compression="lz4", use_dictionary=False)
            writer.write_table(table, row_group_size=MERGED_ROWS // MOST_RUNS)
        if writer is not None:
            writer.close()
    except (OSError, pa.ArrowException) as error:
        raise OutputError(
            f"{path.parent}: no room for rows that are being sorted ({one_line(error)}); "
            "there must be about as much as for the trace, twice"
        ) from error
    return path


class _Run:
    """A sorted run that is read piece by piece."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._next = 0
        self.rows: Columns = {}
        self.read()

    @property
    def more(self) -> bool:
        """Whether there are rows behind those in memory."""
        return bool(self._next < self._file.num_row_groups)

    def read(self) -> None:
        """Take the next rows into memory; those that are there have been used."""
        table = self._file.read_row_group(self._next, use_threads=False)
        self.rows = {name: table[name].combine_chunks().to_numpy() for name in table.column_names}
        self._next += 1

    def take(self, rows: int) -> Columns:
        """Return the first rows in memory, and drop them."""
        taken = {name: values[:rows] for name, values in self.rows.items()}
        self.rows = {name: values[rows:] for name, values in self.rows.items()}
        return taken

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _merged(paths: Sequence[Path]) -> Iterator[Columns]:
    """Yield the rows of several runs in order; of rows of one time those of an earlier run come first."""
    runs = [_Run(path) for path in paths]
    try:
        while runs:
            yield _sorted(_safe(runs))
            for run in runs:
                if not len(run.rows["time"]) and run.more:
                    run.read()
            for run in runs:
                if not len(run.rows["time"]):
                    run.close()
            runs = [run for run in runs if len(run.rows["time"])]
    finally:
        for run in runs:
            run.close()


def _safe(runs: Sequence[_Run]) -> list[Columns]:
    """Take the rows that no row behind those in memory can come before."""
    lasts = [(int(run.rows["time"][-1]), number) for number, run in enumerate(runs) if run.more]
    if not lasts:
        return [run.take(len(run.rows["time"])) for run in runs]
    # Behind the run that ends first there may be more rows of its last time: later runs' rows of that time have to wait.
    bound, which = min(lasts)
    taken = []
    for number, run in enumerate(runs):
        side: Literal["left", "right"] = "right" if number <= which else "left"
        taken.append(run.take(int(np.searchsorted(run.rows["time"], np.uint64(bound), side=side))))
    return taken


@contextmanager
def _folder(beside: Path) -> Iterator[Path]:
    """Make a folder for runs, and remove it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{beside.name}.", suffix=".sort", dir=beside.parent))
    except OSError as error:
        raise OutputError(f"{beside}: it cannot be written ({error.strerror})") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
