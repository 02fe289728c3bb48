"""A foreign trace turned into a native one: inputs opened, records read, rows written, and what came of it."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from eptreplay import __version__
from eptreplay.errors import TraceError
from eptreplay.ingest.importing.by_time import by_time
from eptreplay.ingest.importing.dropped import BadRecordError, Dropped
from eptreplay.ingest.importing.format import Approximated
from eptreplay.ingest.importing.inputs import open_input, shown_name
from eptreplay.ingest.importing.memory import AsItIs, Dense
from eptreplay.ingest.importing.rows import BACK, Seen, beyond_memory, good_records, rows_of
from eptreplay.ingest.native.disorder import most_left_out
from eptreplay.ingest.native.write import TraceMetadata, columns_of, new_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.format import Format, Opened
    from eptreplay.ingest.importing.inputs import Input
    from eptreplay.ingest.importing.memory import Memory
    from eptreplay.ingest.importing.records import Records
    from eptreplay.ingest.trace.schema import Segment

    Rows = dict[str, NDArray[Any]]

KEY_APPROXIMATED = "approximated"
KEY_ROWS_ARE = "rows_are"
KEY_CAPTURE = "capture"
UNTIMED = "cycles"
"""Unit of times that are numbers of records: none of a wall clock, as nobody knows how long a record took."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be imported.

    Args:
        format: what the inputs are.
        opened: the format with its options.
        inputs: names of files, or `-`, in order.
        first: the first of them, open.
        memory: where addresses lie.
        skip_bad: whether bad records are left out and counted.
        advance: told how many more bytes of the inputs were read.
    """

    format: Format
    opened: Opened
    inputs: Sequence[str]
    first: Input
    memory: Memory
    skip_bad: bool
    advance: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an import.

    Args:
        seen: records and rows.
        dropped: what is not in the trace.
        approximated: what the trace does not have as it was.
        memory_bytes: of the guest.
    """

    seen: Seen
    dropped: Dropped
    approximated: tuple[str, ...]
    memory_bytes: int = 0


@dataclass(slots=True)
class _OfInput(Dropped):
    """What is dropped of one input: where it stands is named with the input."""

    whole: Dropped = field(default_factory=Dropped)
    name: str = ""

    def leave_out(self, reason: str, records: int, first: str) -> None:
        """Count records that are no accesses."""
        self.whole.leave_out(reason, records, f"{self.name}, {first}")

    def bad_records(self, reason: str, records: int, first: str) -> None:
        """Count records that are wrong, or raise what ends the import."""
        self.whole.bad_records(reason, records, f"{self.name}, {first}")


def memory_for(opened: Opened, *, dense: bool, page_bytes: int) -> Memory:
    """Return where addresses lie where no page map says: as they are, or by first touch."""
    return Dense(page_bytes) if dense or opened.origin.virtual else AsItIs()


def convert(task: Task, out: Path, *, overwrite: bool) -> Outcome:
    """Write a native trace of foreign inputs; nothing is left of it unless it is whole.

    Raises:
        TraceError: an input cannot be read, a record is wrong, or there is no access in any.
        OutputError: the trace cannot be written.
    """
    outcome = Outcome(Seen(), Dropped(skip_bad=task.skip_bad), approximated(task.opened, task.memory))
    chunks = read_rows(task, outcome)
    first = next(chunks, None)
    if first is None:
        raise _nothing(task, outcome)
    types = columns_of(*first)
    types["vcpu"] = pa.from_numpy_dtype(first["vcpu"].dtype)
    with new_trace(out, types, overwrite=overwrite) as trace:
        rows: Rows | None = first
        while rows is not None:
            trace.write(rows)
            rows = next(chunks, None)
        trace.metadata = _metadata(task, outcome)
    return replace(outcome, memory_bytes=sum(each.bytes for each in trace.metadata.segments))


def approximated(opened: Opened, memory: Memory) -> tuple[str, ...]:
    """Return what a trace of these records does not have as it was."""
    stated = () if _segments(opened, memory) else (Approximated.MEMORY,)
    return tuple(map(str, (*opened.origin.approximated, *stated)))


def _segments(opened: Opened, memory: Memory) -> tuple[Segment, ...]:
    """Return the memory that an input states; none if addresses do not stay what they are."""
    return opened.origin.segments if isinstance(memory, AsItIs) else ()


def read_rows(task: Task, outcome: Outcome) -> Iterator[Rows]:
    """Yield the rows of all inputs: time, vcpu, gpa, op, and what else their records have.

    Raises:
        TraceError: an input cannot be read, or a record is wrong.
    """
    seen, dropped = outcome.seen, outcome.dropped
    try:
        for good in good_records(_records(task, dropped), dropped, seen, task.opened.origin.longest):
            records = good if task.memory.granule else beyond_memory(good, dropped)
            for rows in rows_of(records, task.memory, dropped):
                rows.setdefault("vcpu", np.zeros(len(rows["gpa"]), np.uint8))
                seen.rows += len(rows["gpa"])
                seen.vcpus = max(seen.vcpus, int(rows["vcpu"].max()) + 1)
                yield rows
    except BadRecordError as error:
        raise TraceError(
            error.where,
            error.reason,
            advice=f"the input was read as {task.format.name}; leave such records out with --on-bad-rows skip",
        ) from error
    _refuse_unsorted(task, outcome)


def _records(task: Task, dropped: Dropped) -> Iterator[Records]:
    """Yield the records of all inputs, each with its place, input and all."""
    if task.opened.beside and len(task.inputs) > 1:
        with ExitStack() as open_inputs:
            streams = [
                open_inputs.enter_context(open_input(name)) if number else task.first
                for number, name in enumerate(task.inputs)
            ]
            named = zip(streams, task.inputs, strict=True)
            yield from by_time([_of_stream(task, dropped, stream, name) for stream, name in named])
        return
    for number, name in enumerate(task.inputs):
        with open_input(name) if number else nullcontext(task.first) as stream:
            yield from _of_stream(task, dropped, stream, name)


def _of_stream(task: Task, dropped: Dropped, stream: Input, name: str) -> Iterator[Records]:
    """Yield the records of one input."""
    shown = shown_name(name)
    of_input = _OfInput(skip_bad=dropped.skip_bad, whole=dropped, name=shown)
    first = taken = 0
    for records in task.opened.read(cast("BinaryIO", stream), of_input):
        yield replace(records, place=_placer(records, first, shown))
        first += len(records)
        task.advance(stream.taken - taken)
        taken = stream.taken


def _placer(records: Records, first: int, name: str) -> Callable[[int], str]:
    """Return what says where a record stands: its line or byte, or its number in the input from 1."""
    place = records.place or (lambda index: f"record {first + index + 1:,}")
    return lambda index: f"{name}, {place(index)}"


def _refuse_unsorted(task: Task, outcome: Outcome) -> None:
    """Refuse a trace of which too much would be left out because of its times."""
    back = outcome.dropped.bad.get(BACK)
    if back and back.records > most_left_out(outcome.seen.records):
        raise TraceError(
            back.first,
            f"{BACK}, and so are those of {back.records:,} of {outcome.seen.records:,} records",
            expected="at most one in a hundred",
            advice=f"sort the records by time, those of one time in their order, then import {task.format.name} again",
        )


def _nothing(task: Task, outcome: Outcome) -> TraceError:
    """Return what is said of inputs without a single access."""
    dropped = outcome.dropped
    parts = [
        f"{found.records:,}: {reason} (the first: {found.first})"
        for reason, found in (*dropped.bad.items(), *dropped.on_purpose.items())
    ]
    left = f"; what there is: {'; '.join(parts)}" if parts else ": it is empty"
    return TraceError(
        ", ".join(map(shown_name, task.inputs)),
        f"there is no access in it{left}",
        expected=task.format.title,
        advice="'eptreplay import --list' shows the formats",
    )


def _metadata(task: Task, outcome: Outcome) -> TraceMetadata:
    """Return what the trace says of itself."""
    origin = task.opened.origin
    free = {
        KEY_CAPTURE: f"imported by eptreplay {__version__}: {task.format.title}",
        KEY_ROWS_ARE: origin.record,
        KEY_APPROXIMATED: "; ".join(outcome.approximated),
        "imported_records": str(outcome.seen.records),
        **(origin.metadata or {}),
    }
    if outcome.dropped.bad:
        free["left_out"] = "; ".join(
            f"{found.records} {reason}" for reason, found in outcome.dropped.bad.items()
        )
    segments = _segments(task.opened, task.memory) or task.memory.segments()
    vcpus = max(origin.vcpus, outcome.seen.vcpus)
    return TraceMetadata(segments, vcpus, origin.time_unit or UNTIMED, free)
