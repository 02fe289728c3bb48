"""Batches of columns out of a trace, checked, as views of the decoded buffers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.errors import TraceError
from eptreplay.ingest.native.claims import Claims, ranges_seen
from eptreplay.ingest.native.decode import decode
from eptreplay.ingest.native.disorder import most_left_out, with_counts
from eptreplay.ingest.native.order import in_order
from eptreplay.ingest.native.prefetch import one_ahead
from eptreplay.ingest.native.rows import (
    OUT_OF_ORDER,
    SORT,
    BadRows,
    DisorderError,
    Limits,
    Place,
    check_rows,
    good_rows,
)
from eptreplay.ingest.parquet.file import BUFFER_BYTES, WHOLE, open_parquet
from eptreplay.ingest.parquet.untrusted_statistics import untrusted_statistics
from eptreplay.ingest.trace.schema import COLUMNS, EVENT_MIN

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.decode import Piece
    from eptreplay.ingest.native.rows import Mask, Values
    from eptreplay.ingest.trace.guest_trace import GuestTrace, RowGroup
    from eptreplay.request.choices import OnBadRows

BATCH_ROWS = 96 << 10
"""Rows decoded at a time: few enough that they are decoded within a core's second cache, many
enough that a batch's share of Python does not show."""

WHOLE_BYTES = 16 << 20
"""The most compressed bytes of a row group that is read without a buffer."""


Transition = tuple[int, int, bool, int]
"""A vCPU that begins or ceases to run before a row: the row, the vCPU, whether it runs, the host CPU."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of one row group; arrays are read-only.

    Args:
        row_group: ordinal in `trace.row_groups`.
        first_row: number of the first row in the guest's trace, from 0, counting
            rows that are skipped.
        rows: length n of the arrays.
        gpa: shape (n,), guest-physical byte addresses.
        op: shape (n,), codes of `schema.Op`.
        vcpu: shape (n,), uint8 or uint16; None if not asked for, or if
            `RowGroup.vcpu_constant` is the vCPU of every row.
        size: shape (n,), uint8 or uint16, bytes; None if not asked for, not there, or
            if no row of the row group can cross a page.
        count: shape (n,), accesses a row stands for; None if each stands for one.
        time: shape (n,), in the trace's unit; None where it was not asked for.
        arg: shape (n,), arguments of events; None if the trace has none, or no row can be an event.
        events: whether rows may be events.
        crosses: whether a row may go on in the next page; False where size was not asked for.
        transitions: when vCPUs begin and cease to run: row, vCPU, whether it runs, host CPU; in order.
    """

    row_group: int
    first_row: int
    rows: int
    gpa: NDArray[np.uint64]
    op: NDArray[np.uint8]
    vcpu: NDArray[Any] | None
    size: NDArray[Any] | None
    count: NDArray[np.uint32] | None
    time: NDArray[np.uint64] | None
    arg: NDArray[np.uint64] | None = None
    events: bool = False
    crosses: bool = True
    transitions: tuple[Transition, ...] = ()


class _Plan(NamedTuple):
    """What to decode of a row group, and which optional columns of that the caller gets."""

    decode: tuple[str, ...]
    give: frozenset[str]
    events: bool


def read_batches(
    trace: GuestTrace,
    *,
    time_row_groups: Collection[int] | None = None,
    vcpu: bool = False,
    size: bool = True,
    prefetch: bool = True,
    on_bad_rows: OnBadRows = "fail",
    bad_rows: BadRows | None = None,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[Batch]:
    """Read a trace from its first row to its last.

    Args:
        trace: see `dataset`.
        time_row_groups: ordinals of the row groups whose time is wanted; None: all.
            In the others, time is checked by statistics only.
        vcpu: whether the vcpu column is wanted.
        size: whether the size column is wanted.
        prefetch: decode the next batch in a thread while the caller uses this one.
        on_bad_rows: `fail` at the first row that breaks a rule, or `skip` such rows.
            To skip the same rows whatever is asked for, `skip` decodes every column.
        bad_rows: takes the counts of rows skipped.
        batch_rows: the most rows of a batch.

    Returns:
        Batches in the order of the accesses; a row group makes one or several.

    Raises:
        TraceError: the trace is damaged, or a row breaks a rule and the policy is `fail`.
    """
    skip = on_bad_rows == "skip"
    plans = [
        _plan(
            trace,
            group,
            time=time_row_groups is None or ordinal in time_row_groups,
            vcpu=vcpu,
            size=size,
            skip=skip,
        )
        for ordinal, group in enumerate(trace.row_groups)
    ]
    skipped = (BadRows() if bad_rows is None else bad_rows) if skip else None
    batches = _batches(trace, plans, skipped, batch_rows, Limits(trace.vcpus, 0))
    return one_ahead(batches) if prefetch else batches


def read_whole_rows(
    trace: GuestTrace, *, ordered: bool, on_bad_rows: OnBadRows, bad_rows: BadRows
) -> Iterator[Batch]:
    """Read every column of a trace from its first row to its last, as `read_batches` does.

    Args:
        trace: see `dataset`.
        ordered: whether a row whose time is before that of the row before is a bad one.
        on_bad_rows: `fail` at the first row that breaks a rule, or `skip` such rows.
        bad_rows: takes the counts of rows skipped.

    Raises:
        TraceError: the trace is damaged, or a row breaks a rule and the policy is `fail`.
    """
    columns = tuple(column.name for column in COLUMNS if column.name in trace.columns - {"guest"})
    plan = _Plan(columns, frozenset(columns), events=True)
    limits = Limits(trace.vcpus, 0, ordered=ordered, compiled=False)
    skipped = bad_rows if on_bad_rows == "skip" else None
    if ordered:
        return _batches(trace, [plan] * len(trace.row_groups), skipped, BATCH_ROWS, limits)
    return _in_any_order(trace, plan, skipped, limits)


def _plan(trace: GuestTrace, group: RowGroup, *, time: bool, vcpu: bool, size: bool, skip: bool) -> _Plan:
    """Decide what to decode: what is asked for, and what only a scan of its rows can check."""
    known = {name: known for name, known in group.ranges.items() if name not in group.nulls}
    # Each column with: is it asked for, and must it be scanned in any case?
    optional = [("time", time, skip or "time" not in known)]
    if group.vcpu_constant is None or "vcpu" not in known or known["vcpu"].high >= trace.vcpus:
        optional.append(("vcpu", vcpu, skip or "vcpu" not in known))
    # An access of one byte cannot cross a page.
    if "size" in trace.columns and ("size" not in known or known["size"].high > 1):
        optional.append(("size", size, skip))
    # An argument matters, and its nulls mean 0, where rows may be events.
    events = "op" not in known or known["op"].high >= EVENT_MIN
    if "arg" in trace.columns and events:
        optional.append(("arg", True, True))
    if "count" in trace.columns and known.get("count") != (1, 1):
        optional.append(("count", True, True))
    return _Plan(
        decode=("gpa", "op", *(name for name, asked, checked in optional if asked or checked)),
        give=frozenset(name for name, asked, _ in optional if asked),
        events=events,
    )


def _batches(
    trace: GuestTrace, plans: Sequence[_Plan], skipped: BadRows | None, batch_rows: int, limits: Limits
) -> Generator[Batch, None, None]:
    try:
        if skipped is None:
            _refuse_untrusted(trace, batch_rows, limits)
            yield from _all_or_none(trace, plans, batch_rows, limits)
        else:
            yield from _good_ones(trace, plans, skipped, batch_rows, limits)
    except DisorderError as error:
        raise with_counts(trace, error) from error


class _Decoded(NamedTuple):
    """A piece of a trace: the ordinal of its row group, the row group, what the file says of that, and its columns."""

    ordinal: int
    group: RowGroup
    claims: Claims
    piece: Piece

    @property
    def place(self) -> Place:
        """Where it begins."""
        return Place(str(self.group.file), self.group.index, self.group.file_row + self.piece.row)

    @property
    def nulls(self) -> dict[str, Mask]:
        """Its nulls that no rule allows."""
        return {name: mask for name, mask in self.piece.nulls.items() if name != "arg"}


def _decoded(trace: GuestTrace, plans: Sequence[_Plan], batch_rows: int) -> Iterator[_Decoded]:
    """Yield a trace piece by piece."""
    for path, members in groupby(enumerate(trace.row_groups), key=lambda member: member[1].file):
        groups = list(members)
        with open_parquet(path, trace.digests[path], _buffer_bytes(group for _, group in groups)) as file:
            for ordinal, group in groups:
                file.expect(group.spans(plans[ordinal].decode))
                claims = Claims(file.read_at, group, plans[ordinal].decode)
                for piece in decode(file, group, plans[ordinal].decode, batch_rows):
                    yield _Decoded(ordinal, group, claims, piece)


def _all_or_none(
    trace: GuestTrace, plans: Sequence[_Plan], batch_rows: int, limits: Limits
) -> Iterator[Batch]:
    """Yield a trace whose rows are all good."""
    last_time = 0
    for each in _decoded(trace, plans, batch_rows):
        columns, plan = each.piece.columns, plans[each.ordinal]
        if each.piece.row == 0 and each.ordinal and "time" not in plans[each.ordinal - 1].decode:
            last_time = max(last_time, trace.row_groups[each.ordinal - 1].time_max or 0)
        limits = limits._replace(last_time=last_time)
        seen = check_rows(columns, each.nulls, limits, each.place, each.piece.unfit)
        each.claims.check(each.piece, ranges_seen(each.piece, seen))
        if "time" in columns:
            last_time = int(columns["time"][-1])
        yield _batch(each.ordinal, each.group.first_row + each.piece.row, columns, plan, crosses=seen.crosses)


def _in_any_order(
    trace: GuestTrace, plan: _Plan, skipped: BadRows | None, limits: Limits
) -> Generator[Batch, None, None]:
    """Yield a trace whose times may go back."""
    for each in _decoded(trace, [plan] * len(trace.row_groups), BATCH_ROWS):
        each.claims.check(each.piece, {})
        columns = each.piece.columns
        if skipped is None:
            check_rows(columns, each.nulls, limits, each.place, each.piece.unfit)
        else:
            keep = good_rows(columns, each.nulls, limits, each.place, skipped, each.piece.unfit)
            columns = columns if keep is None else _kept(columns, keep)
        if len(columns["gpa"]):
            yield _batch(each.ordinal, each.group.first_row + each.piece.row, columns, plan, crosses=True)


def _good_ones(
    trace: GuestTrace, plans: Sequence[_Plan], skipped: BadRows, batch_rows: int, limits: Limits
) -> Iterator[Batch]:
    """Yield the rows of a trace that are good; every column is decoded."""
    before = skipped.counts[OUT_OF_ORDER]
    good = _good_by_themselves(trace, plans, skipped, batch_rows, limits)
    for (each, rows), in_time in in_order(good):
        dropped = int(np.count_nonzero(~in_time))
        keep = rows if dropped == 0 else _both(rows, in_time)
        if dropped:
            skipped.add(_out_of_order(each, rows, in_time), OUT_OF_ORDER, dropped)
            if skipped.counts[OUT_OF_ORDER] - before > most_left_out(trace.rows):
                raise _out_of_order(each, rows, in_time)
        columns = each.piece.columns if keep is None else _kept(each.piece.columns, keep)
        if len(columns["gpa"]):
            first_row = each.group.first_row + each.piece.row
            yield _batch(each.ordinal, first_row, columns, plans[each.ordinal], crosses=True)


def _good_by_themselves(
    trace: GuestTrace, plans: Sequence[_Plan], skipped: BadRows, batch_rows: int, limits: Limits
) -> Iterator[tuple[tuple[_Decoded, Mask | None], Values]]:
    """Yield pieces, which of their rows break no rule (None: none does), and the times of those."""
    for each in _decoded(trace, plans, batch_rows):
        each.claims.check(each.piece, {})
        keep = good_rows(each.piece.columns, each.nulls, limits, each.place, skipped, each.piece.unfit)
        time = each.piece.columns["time"]
        yield (each, keep), time if keep is None else time[keep]


def _both(rows: Mask | None, in_time: Mask) -> Mask:
    """Return which rows of a piece to keep, of those that break no rule those whose times are in order."""
    if rows is None:
        return in_time
    both = rows.copy()
    both[rows] = in_time
    return both


def _kept(columns: dict[str, Values], keep: Mask) -> dict[str, Values]:
    kept = {name: values[keep] for name, values in columns.items()}
    for values in kept.values():
        values.flags.writeable = False  # like views of Arrow buffers, so that kernels see one type
    return kept


def _out_of_order(each: _Decoded, rows: Mask | None, in_time: Mask) -> DisorderError:
    """Return an error about the first row of a piece that its time puts out of order."""
    at = int(np.argmin(in_time))
    row = at if rows is None else int(np.flatnonzero(rows)[at])
    time = each.piece.columns["time"]
    return DisorderError(
        each.place.file,
        f"the time {int(time[row])} is out of order",
        column="time",
        row_group=each.group.index,
        row=each.place.row + row,
        expected="no time before that of the row before",
        advice=SORT,
    )


def _buffer_bytes(groups: Iterable[RowGroup]) -> int:
    """Return the size of buffer to read a file's row groups through."""
    largest = max(sum(extent.packed for extent in group.extents.values()) for group in groups)
    return WHOLE if largest <= WHOLE_BYTES else BUFFER_BYTES


def _batch(ordinal: int, first_row: int, columns: dict[str, Values], plan: _Plan, *, crosses: bool) -> Batch:
    optional: dict[str, Any] = {
        name: columns[name] if name in plan.give else None
        for name in ("vcpu", "size", "count", "time", "arg")
    }
    gpa: Any = columns["gpa"]
    op: Any = columns["op"]
    return Batch(
        row_group=ordinal,
        first_row=first_row,
        rows=len(gpa),
        gpa=gpa,
        op=op,
        events=plan.events,
        crosses=crosses and "size" in plan.give,
        **optional,
    )


def _refuse_untrusted(trace: GuestTrace, batch_rows: int, limits: Limits) -> None:
    """Fail before the first row if statistics say that a later one is bad."""
    for claim in untrusted_statistics(trace):
        group = claim.group
        last_time = claim.last_time
        with open_parquet(group.file, trace.digests[group.file]) as file:
            for piece in decode(file, group, (claim.column,), batch_rows):
                place = Place(str(group.file), group.index, group.file_row + piece.row)
                here = limits._replace(last_time=last_time)
                check_rows(piece.columns, piece.nulls, here, place, piece.unfit)
                if claim.column == "time":
                    last_time = int(piece.columns["time"][-1])
        raise TraceError(
            str(group.file),
            f"the statistics say {claim.claim}, but no row does",
            column=claim.column,
            row_group=group.index,
            advice="write the file again with a correct writer",
        )
