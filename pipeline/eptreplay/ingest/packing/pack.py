"""A trace written again in the layout that decodes fastest; every row is checked on the way."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from eptreplay.errors import UsageError
from eptreplay.ingest.native.reader import read_whole_rows
from eptreplay.ingest.native.write import WIDEST, TraceMetadata, new_trace
from eptreplay.ingest.packing.first_touch import FirstTouch
from eptreplay.ingest.packing.sort import sorted_by_time
from eptreplay.ingest.trace.schema import (
    COLUMNS,
    EVENT_MIN,
    KEY_CLOCK,
    KEY_MEMORY_BYTES,
    KEY_SEGMENTS,
    KEY_TIME,
    KEY_TIME_UNIT,
    KEY_VCPUS,
    PAGE_SIZE,
    Segment,
)
from eptreplay.units import CYCLES, rate_mhz

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.ingest.native.rows import BadRows
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.request.choices import OnBadRows

    Columns = dict[str, NDArray[Any]]

KEY_READ_AS = "read_as"
"""How the columns of the file that a trace was packed from were taken, where they were not as the schema says."""

KEY_PACKED_FROM = "packed_from"
_OWN = {KEY_SEGMENTS, KEY_VCPUS, KEY_MEMORY_BYTES, KEY_TIME_UNIT, KEY_CLOCK, KEY_TIME}
_OF_WRITERS = {"pandas"}
"""Keys in which a writer describes columns that are not there any more."""
_SMALL_VCPUS = 1 << 8
_NAMED = 8
"""Names of files that the metadata lists, at most."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How a trace is packed.

    Args:
        sort: whether rows are sorted by time.
        dense: whether pages are numbered by first touch.
        on_bad_rows: `fail` or `skip`.
        overwrite: whether a file that is there is replaced.
        advance: is told of rows read.
    """

    sort: bool = False
    dense: bool = False
    on_bad_rows: OnBadRows = "fail"
    overwrite: bool = False
    advance: Callable[[int], None] = field(default=lambda _: None)


class Packed(NamedTuple):
    """What was written.

    Args:
        rows: in the new file.
        pages: pages that were numbered; None: they were not.
        divided: rows that became two, since they crossed the end of a page that was numbered.
        moved: rows whose time was before that of the row before, which sorting has moved.
    """

    rows: int
    pages: int | None
    divided: int
    moved: int


def pack_trace(trace: GuestTrace, target: Path, packing: Packing, bad_rows: BadRows) -> Packed:
    """Write a trace again.

    Args:
        trace: what to read.
        target: the file to make.
        packing: how.
        bad_rows: takes the counts of rows left out.

    Raises:
        TraceError: the trace is damaged, or a row breaks a rule and is not to be left out.
        UsageError: the trace has events, and pages are to be numbered.
        OutputError: the file cannot be written.
    """
    touch = FirstTouch() if packing.dense else None
    moved = _Moved()
    with closing(_rows(trace, packing, bad_rows, moved)) as read, ExitStack() as stack:
        rows: Iterator[Columns] = read
        if packing.sort:
            rows = stack.enter_context(closing(sorted_by_time(rows, target)))
        if touch is not None:
            rows = map(touch.renumbered, rows)
        written = _write(trace, target, rows, packing, touch)
    return Packed(written, touch.pages if touch else None, touch.divided if touch else 0, moved.rows)


def _write(
    trace: GuestTrace, target: Path, rows: Iterator[Columns], packing: Packing, touch: FirstTouch | None
) -> int:
    """Write rows into a file, and return how many there were."""
    first = next(rows, None)
    types = (
        _types(trace)
        if first is None
        else {name: pa.from_numpy_dtype(each.dtype) for name, each in first.items()}
    )
    with new_trace(target, types, overwrite=packing.overwrite) as writer:
        for columns in chain([] if first is None else [first], rows):
            writer.write(columns)
        writer.metadata = _metadata(trace, touch)
    return writer.rows


class _Moved:
    """Counts rows that are earlier than the row before."""

    def __init__(self) -> None:
        self.rows = 0
        self._last = 0

    def add(self, time: NDArray[np.uint64]) -> None:
        self.rows += int(time[0]) < self._last
        self.rows += int(np.count_nonzero(time[1:] < time[:-1]))
        self._last = int(time[-1])


def _rows(
    trace: GuestTrace, packing: Packing, bad_rows: BadRows, moved: _Moved
) -> Generator[Columns, None, None]:
    """Yield the rows of a trace, all of its columns."""
    batches = read_whole_rows(
        trace, ordered=not packing.sort, on_bad_rows=packing.on_bad_rows, bad_rows=bad_rows
    )
    for batch in batches:
        columns = _columns(batch, trace)
        if packing.sort:
            moved.add(columns["time"])
        if packing.dense and int(columns["op"].max()) >= EVENT_MIN:
            raise UsageError(
                f"{trace.name}: it has events, and what they say of ranges of memory is lost when pages are numbered anew; "
                "pack it without --dense"
            )
        packing.advance(batch.rows)
        yield columns


def _columns(batch: Batch, trace: GuestTrace) -> Columns:
    """Return the columns of a batch by name, vCPUs in as few bytes as their number allows."""
    found: Columns = {
        column.name: values
        for column in COLUMNS
        if column.name != "guest" and (values := getattr(batch, column.name)) is not None
    }
    if trace.vcpus <= _SMALL_VCPUS:
        found["vcpu"] = found["vcpu"].astype(np.uint8, copy=False)
    return found


def _types(trace: GuestTrace) -> dict[str, pa.DataType]:
    """Return the types of the columns of a trace without rows."""
    return {
        name: WIDEST[name] for name in (each.name for each in COLUMNS) if name in trace.columns - {"guest"}
    }


def _metadata(trace: GuestTrace, touch: FirstTouch | None) -> TraceMetadata:
    """Return what the new file says of its guest: what is known of it, wherever that was written."""
    free = {key: text for key, text in trace.metadata.items() if key not in _OWN | _OF_WRITERS}
    names = [path.name for path in trace.files]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    free[KEY_PACKED_FROM] = ", ".join(names[:_NAMED]) + more
    if trace.taken:
        free[KEY_READ_AS] = "; ".join(trace.taken)
    segments: Iterable[Segment] = trace.segments
    if touch is not None:
        segments = (Segment(0, max(1, touch.pages) * PAGE_SIZE, "ram"),)
        free["approximated"] = (
            "pages are numbered in the order of first touch: which ones are neighbours is lost"
        )
    mhz = rate_mhz(trace.time_unit)
    if mhz is not None:
        free[KEY_CLOCK] = mhz
    return TraceMetadata(tuple(segments), trace.vcpus, trace.time_unit if mhz is None else CYCLES, free)
