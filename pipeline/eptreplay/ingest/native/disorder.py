"""Times that go back: how many rows are concerned, and what helps."""

from __future__ import annotations

import shlex
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.errors import TraceError
from eptreplay.ingest.native.decode import decode
from eptreplay.ingest.native.order import BLOCK_ROWS, in_order
from eptreplay.ingest.native.rows import SORT, DisorderError
from eptreplay.ingest.parquet.file import open_parquet
from eptreplay.ingest.trace.suffixes import without_suffix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eptreplay.ingest.native.rows import Values
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.ingest.trace.remote_path import AnyPath

SLIVER = 100
"""At most one in so many rows of a trace is left out because of its time."""

_FEW = 10
"""So many may be in any case."""

_MOST_COUNTED = 1 << 20
"""No more are counted: each takes about a microsecond."""


class Disorder(NamedTuple):
    """How far the times of a trace are from being in order.

    Args:
        out: the fewest rows without which time never goes back.
        rows: rows among which these were counted, from the first on.
    """

    out: int
    rows: int


def most_left_out(rows: int) -> int:
    """Return how many rows of a trace may be left out because of their times."""
    return max(_FEW, rows // SLIVER)


def disorder(trace: GuestTrace) -> Disorder:
    """Count the rows that are out of order, in bounded memory; a great many are not counted to the end.

    Raises:
        TraceError: the trace is damaged.
    """
    out = rows = 0
    for time, keep in in_order((time, time) for time in _times(trace)):
        out += len(time) - int(np.count_nonzero(keep))
        rows += len(time)
        if out > max(_MOST_COUNTED, most_left_out(trace.rows)):
            break
    return Disorder(out, rows)


def with_counts(trace: GuestTrace, error: DisorderError) -> TraceError:
    """Return an error that says of how many rows it is true, and what to do about them."""
    try:
        found = disorder(trace)
    except TraceError:
        return error  # what is damaged as well cannot be counted
    if not found.out:
        return error
    of = f"{found.rows:,}" if found.rows == trace.rows else f"the first {found.rows:,}"
    few = found.out <= most_left_out(trace.rows)
    skip = (
        "if their times are wrong leave them out with --on-bad-rows skip, if only their order is "
        if few
        else ""
    )
    return TraceError(
        error.file,
        f"{error.found}; {found.out:,} of {of} rows are out of order (the fewest without which the rest is in order)",
        column=error.column,
        row_group=error.row_group,
        row=error.row,
        expected=error.expected,
        advice=f"{skip}{SORT}{_command(trace)}",
    )


def _times(trace: GuestTrace) -> Iterator[Values]:
    """Yield the times of a trace, without those that are null or do not fit."""
    for path, groups in groupby(trace.row_groups, key=lambda group: group.file):
        with open_parquet(path, trace.digests[path]) as file:
            for group in groups:
                for piece in decode(file, group, ("time",), BLOCK_ROWS):
                    yield piece.known("time")


def _command(trace: GuestTrace) -> str:
    """Return the command that sorts a trace."""
    stem = without_suffix(trace.files[0].name)
    if len(trace.files) > 1:
        source = folder_of_guest(trace.files[0])
        return f": eptreplay pack --sort {shlex.quote(str(source))} -o {shlex.quote(f'{trace.name}.sorted.parquet')}"
    target = trace.files[0].parent / f"{stem}.sorted.parquet"
    return f": eptreplay pack --sort {shlex.quote(str(trace.files[0]))} -o {shlex.quote(str(target))}"


def folder_of_guest(path: AnyPath) -> AnyPath:
    """Return the folder guest=NAME that a file is in; its own folder if there is none."""
    return next((folder for folder in path.parents if folder.name.startswith("guest=")), path.parent)
