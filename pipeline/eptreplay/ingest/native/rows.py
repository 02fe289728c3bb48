"""Is every row an access? The rules for values, and the policy for rows that break one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.errors import TraceError
from eptreplay.ingest.native.plain_scan import RowScan, plain_scan
from eptreplay.ingest.trace.ranges import LAST_TIME
from eptreplay.ingest.trace.schema import COLUMNS, EVENT_MIN, GPA_BITS, OP_MAX, PAGE_SIZE, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.trace.source import Unfit

    Values = NDArray[np.unsignedinteger]
    Mask = NDArray[np.bool_]


_ALL_FIT: Mapping[str, Unfit] = MappingProxyType({})

OUT_OF_ORDER = "time"
"""The reason of rows that are left out because of their times."""


class Limits(NamedTuple):
    """What the rules compare with.

    Args:
        vcpus: virtual CPUs of the guest.
        last_time: time of the row before the first one.
        ordered: whether times may not go back.
        compiled: whether the scan is compiled; if not, a command need not wait for the compiler.
    """

    vcpus: int
    last_time: int
    ordered: bool = True
    compiled: bool = True


class Place(NamedTuple):
    """Where a stretch of rows begins: file, row group in it, row in it."""

    file: str
    row_group: int
    row: int


@dataclass(slots=True)
class BadRows:
    """Rows that were left out, by reason.

    Args:
        counts: rows a reason; a row counts under the first rule it breaks.
        first: where the first row of each reason stands, in words.
    """

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Rows left out."""
        return self.counts.total()

    def add(self, error: TraceError, reason: str, rows: int) -> None:
        """Count rows that break a rule; the error describes the first of them."""
        self.counts[reason] += rows
        self.first.setdefault(reason, str(error))


class DisorderError(TraceError):
    """Time goes back from one row to the next."""


class _Rule(NamedTuple):
    """One rule about one column.

    Args:
        reason: short name of what a row does that breaks it.
        column: the column it looks at.
        holds: a cheap test of a whole batch; takes what the scan found of it, the column's values, the limits.
        breaks: which rows break it.
        found: what such a row is, in words; takes its value.
        expected: what the format asks for.
    """

    reason: str
    column: str
    holds: Callable[[RowScan, Values, Limits], bool]
    breaks: Callable[[Values, Limits], Mask]
    found: Callable[[int], str]
    expected: Callable[[Limits], str]


def _event(code: int) -> str:
    return f"op {code} is an event code that means nothing"


_IS_EVENT = np.isin(np.arange(256), [int(event) for event in Event])
_OPS = "0 read, 1 write or 2 fetch"
_RULES = (
    _Rule(
        "unknown_op",
        "op",
        lambda seen, *_: seen.op.high <= OP_MAX,
        lambda op, _: (op > OP_MAX) & (op < EVENT_MIN),
        lambda value: f"op {value} is unknown",
        lambda _: _OPS,
    ),
    _Rule(
        "event",
        "op",
        lambda seen, *_: seen.op.high < EVENT_MIN,
        lambda op, _: (op >= EVENT_MIN) & ~_IS_EVENT[op],
        _event,
        lambda _: (
            f"{_OPS}, or an event: {', '.join(f'{event.value} {event.name.lower()}' for event in Event)}"
        ),
    ),
    _Rule(
        "gpa",
        "gpa",
        lambda seen, *_: seen.gpa.high >> GPA_BITS == 0,
        lambda gpa, _: gpa >= np.uint64(1 << GPA_BITS),
        lambda value: f"the address {value:#x} has more than {GPA_BITS} bits",
        lambda _: f"an address below {1 << GPA_BITS:#x}",
    ),
    _Rule(
        "vcpu",
        "vcpu",
        lambda _, vcpu, limits: int(vcpu.max()) < limits.vcpus,
        lambda vcpu, limits: vcpu >= limits.vcpus,
        lambda value: f"vCPU {value} is none of the guest's",
        lambda limits: f"a number below {limits.vcpus}, its vCPUs",
    ),
    _Rule(
        "count",
        "count",
        lambda _, count, __: int(count.min()) > 0,
        lambda count, _: count == 0,
        lambda _: "the row stands for 0 accesses",
        lambda _: "at least 1",
    ),
    _Rule(
        "size",
        "size",
        lambda seen, *_: seen.size <= PAGE_SIZE,
        lambda size, _: size > PAGE_SIZE,
        lambda value: f"an access of {value} bytes",
        lambda _: f"at most {PAGE_SIZE}, so that it touches at most two pages",
    ),
    _Rule(
        "late",
        "time",
        lambda seen, time, _: not seen.disordered and int(time[-1]) <= LAST_TIME,
        lambda time, _: time > np.uint64(LAST_TIME),
        lambda value: f"the time is {value}",
        lambda _: f"a time of at most {LAST_TIME} (2^63 - 1)",
    ),
)


class RuleOfRows(NamedTuple):
    """A rule as people read it: its short name, the column that it is about (empty: any), and what it asks for."""

    reason: str
    column: str
    expected: str


def rules_of_rows(vcpus: int) -> list[RuleOfRows]:
    """Return every rule that a row is checked against, in the order in which they are.

    Args:
        vcpus: virtual CPUs of the guest.
    """
    limits = Limits(vcpus, 0)
    return [
        RuleOfRows("null", "", "no nulls, but in arg"),
        RuleOfRows("unfit", "", "a value that the type of its column can hold"),
        *(RuleOfRows(rule.reason, rule.column, rule.expected(limits)) for rule in _RULES),
        RuleOfRows(OUT_OF_ORDER, "time", "no time before that of the row before"),
    ]


def check_rows(
    columns: Mapping[str, Values],
    nulls: Mapping[str, Mask],
    limits: Limits,
    place: Place,
    unfit: Mapping[str, Unfit] = _ALL_FIT,
) -> RowScan:
    """Refuse a batch with a row that breaks a rule; return what the scan found of it.

    Args:
        columns: decoded columns by name, each of shape (n,), n > 0.
        nulls: for each column with nulls, which rows are null.
        limits: what the rules compare with.
        place: where the batch begins, for messages.
        unfit: for each column with values that its type cannot hold, which.

    Raises:
        DisorderError: time goes back; naming the first row where it does.
        TraceError: naming the first row that breaks the first broken rule.
    """
    for name, mask in nulls.items():
        raise _null(name, mask, place)
    for name, bad in unfit.items():
        raise _unfit(name, bad, bad.rows, place)
    seen = _scanned(columns, limits)
    for rule in _RULES:
        values = columns.get(rule.column)
        if values is not None and not rule.holds(seen, values, limits):
            mask = rule.breaks(values, limits)
            # `holds` of a lower rule also fails for what a higher one catches.
            if mask.any():
                raise _broken(rule, mask, values, limits, place)
    if seen.disordered and limits.ordered:
        _refuse_disorder(columns["time"], limits.last_time, place)
    return seen


def _scanned(columns: Mapping[str, Values], limits: Limits) -> RowScan:
    """Return what a scan of rows finds."""
    if not limits.compiled:
        return plain_scan(columns, limits.last_time)
    from eptreplay.ingest.native.row_scan import scan_rows  # noqa: PLC0415 - not every command waits for numba

    return scan_rows(columns, limits.last_time)


def good_rows(
    columns: Mapping[str, Values],
    nulls: Mapping[str, Mask],
    limits: Limits,
    place: Place,
    bad: BadRows,
    unfit: Mapping[str, Unfit] = _ALL_FIT,
) -> Mask | None:
    """Tell the rows to keep from those that break a rule of their own, and count the latter.

    The order of times is no such rule: see `order.in_order`.

    Args:
        columns: decoded columns by name, each of shape (n,), n > 0.
        nulls: for each column with nulls, which rows are null.
        limits: what the rules compare with.
        place: where the batch begins, for messages.
        bad: takes the counts.
        unfit: for each column with values that its type cannot hold, which.

    Returns:
        Shape (n,): which rows to keep; None if all.
    """
    seen = _scanned(columns, limits)
    if (
        not nulls
        and not unfit
        and all(rule.holds(seen, columns[rule.column], limits) for rule in _RULES if rule.column in columns)
    ):
        return None
    drop = np.zeros(len(next(iter(columns.values()))), dtype=np.bool_)
    for name, mask in nulls.items():
        mask = mask & ~drop  # noqa: PLW2901  a row counts once
        if mask.any():
            bad.add(_null(name, mask, place), "null", int(np.count_nonzero(mask)))
            drop |= mask
    for name, each in unfit.items():
        mask = each.rows & ~drop
        if mask.any():
            bad.add(_unfit(name, each, mask, place), "unfit", int(np.count_nonzero(mask)))
            drop |= mask
    for rule in _RULES:
        values = columns.get(rule.column)
        if values is None:
            continue
        mask = rule.breaks(values, limits) & ~drop
        if mask.any():
            bad.add(_broken(rule, mask, values, limits, place), rule.reason, int(np.count_nonzero(mask)))
            drop |= mask
    return ~drop if drop.any() else None


def _refuse_disorder(time: Values, last_time: int, place: Place) -> None:
    """Raise if time goes back; it need not where it has more than 63 bits."""
    before = np.concatenate([np.array([last_time], np.uint64), time[:-1]])
    mask = time < before
    if mask.any():
        row = int(mask.argmax())
        raise DisorderError(
            place.file,
            f"time goes back to {int(time[row])} from {int(before[row])}",
            column="time",
            row_group=place.row_group,
            row=place.row + row,
            expected="no time before that of the row before",
            advice=SORT,
        )


def _null(name: str, mask: Mask, place: Place) -> TraceError:
    row = int(mask.argmax())
    return TraceError(
        place.file,
        f"the value is null (the first of {int(np.count_nonzero(mask)):,} in this batch)",
        column=name,
        row_group=place.row_group,
        row=place.row + row,
        expected="no nulls",
        advice=_ADVICE,
    )


def _unfit(name: str, unfit: Unfit, mask: Mask, place: Place) -> TraceError:
    first = int(unfit.rows.argmax())
    row = int(mask.argmax())
    column = next(column for column in COLUMNS if column.name == name)
    return TraceError(
        place.file,
        unfit.found if row == first else "the value does not fit",
        column=name,
        row_group=place.row_group,
        row=place.row + row,
        expected=f"what {column.accepted()} can hold: {column.meaning}",
        advice=_SECONDS if "fraction" in unfit.found and name == "time" else _ADVICE,
    )


def _broken(rule: _Rule, mask: Mask, values: Values, limits: Limits, place: Place) -> TraceError:
    row = int(mask.argmax())
    return TraceError(
        place.file,
        rule.found(int(values[row])),
        column=rule.column,
        row_group=place.row_group,
        row=place.row + row,
        expected=rule.expected(limits),
        advice=_ADVICE,
    )


_ADVICE = "correct the trace, or leave such rows out with --on-bad-rows skip"
_SECONDS = "if they are seconds, round them to nanoseconds: eptreplay pack IN -o OUT --float-seconds; or write whole numbers of a finer unit"
SORT = "sort the rows by time, rows of one time in the order they have"
"""What helps rows that are out of order."""
