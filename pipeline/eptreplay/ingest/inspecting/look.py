"""A look at a trace: what its footer says exactly, and what some of its rows let expect of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.ingest.native.decode import decode
from eptreplay.ingest.parquet.file import open_parquet
from eptreplay.ingest.trace.schema import EVENT_MIN, OP_MAX, PAGE_SHIFT, Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from eptreplay.ingest.native.decode import Piece
    from eptreplay.ingest.trace.guest_trace import GuestTrace, RowGroup

SAMPLE_ROWS = 1 << 20
"""Rows that are looked at of a trace that has more: about a third of a second."""

PLACES = 8
"""Stretches of rows that a sample is made of, spread over the trace; each begins with a row group."""

_PIECE_ROWS = 1 << 16
_REGION_SHIFT = np.uint64(9)
"""From the number of a page to that of its 2 MB region."""


@dataclass(slots=True)
class Looked:
    """What some rows of a trace, or all of them, hold.

    Args:
        rows: how many were looked at.
        exact: whether that is all there are.
        accesses: accesses by kind; a row counts as many as its `count` says.
        events: rows that are events.
        pages: numbers of distinct pages, ascending.
        written: those that were written.
        outside: rows whose page is no memory.
        vcpus: distinct vCPUs, ascending.
        nulls_or_unfit: rows without a good address or kind, which are in no other figure.
    """

    rows: int = 0
    exact: bool = False
    accesses: dict[Op, int] = field(default_factory=lambda: dict.fromkeys(Op, 0))
    events: int = 0
    pages: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    written: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    outside: int = 0
    vcpus: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.uint16))
    nulls_or_unfit: int = 0

    @property
    def regions(self) -> int:
        """Distinct 2 MB regions."""
        return len(np.unique(self.pages >> _REGION_SHIFT))

    @property
    def highest_page(self) -> int | None:
        """The highest page; None if there is none."""
        return int(self.pages[-1]) if len(self.pages) else None


def look_at(trace: GuestTrace, *, exact: bool, advance: Callable[[int], None] = lambda _: None) -> Looked:
    """Look at rows of a trace: all if they are few or `exact`, otherwise at SAMPLE_ROWS from PLACES places.

    Rows are taken as they are: `eptreplay check` holds them against the rules.

    Args:
        trace: the trace.
        exact: whether to look at all rows.
        advance: is told of rows looked at.

    Raises:
        TraceError: what is read is damaged.
    """
    found = Looked(exact=exact or trace.rows <= SAMPLE_ROWS)
    groups: Sequence[RowGroup] = trace.row_groups
    most = trace.rows
    if not found.exact:
        groups = _spread(trace.row_groups)
        most = -(-SAMPLE_ROWS // len(groups))
    ranges = np.array(trace.ram_ranges(), np.uint64).reshape(-1)
    for group in groups:
        for piece in _first_pieces(trace, group, most):
            _add(found, piece, ranges)
            advance(len(piece.columns["gpa"]))
    return found


def _spread(groups: Sequence[RowGroup]) -> list[RowGroup]:
    """Return some row groups, as far apart as they can be."""
    if len(groups) <= PLACES:
        return list(groups)
    return [groups[place * (len(groups) - 1) // (PLACES - 1)] for place in range(PLACES)]


def _first_pieces(trace: GuestTrace, group: RowGroup, most: int) -> Iterator[Piece]:
    """Yield the first rows of a row group, about so many at most."""
    names = [name for name in ("gpa", "op", "vcpu", "count") if name in trace.columns]
    with open_parquet(group.file, trace.digests[group.file]) as file:
        yield from islice(decode(file, group, names, min(most, _PIECE_ROWS)), -(-most // _PIECE_ROWS))


def _add(found: Looked, piece: Piece, ranges: NDArray[np.uint64]) -> None:
    """Count in some rows."""
    columns = piece.columns
    rows = len(columns["gpa"])
    found.rows += rows
    masks = [*piece.nulls.values(), *(each.rows for each in piece.unfit.values())]
    if masks:
        good = ~np.logical_or.reduce(masks)
        found.nulls_or_unfit += rows - int(np.count_nonzero(good))
        columns = {name: values[good] for name, values in columns.items()}
    op, count = columns["op"], columns.get("count")
    for kind in Op:
        mask = op == kind
        found.accesses[kind] += int(
            np.count_nonzero(mask) if count is None else count[mask].sum(dtype=np.uint64)
        )
    found.events += int(np.count_nonzero(op >= EVENT_MIN))
    access = op <= OP_MAX
    page = columns["gpa"][access] >> np.uint64(PAGE_SHIFT)
    found.outside += int(np.count_nonzero(np.searchsorted(ranges, page, side="right") % 2 == 0))
    found.pages = np.union1d(found.pages, page)
    found.written = np.union1d(found.written, page[op[access] == Op.WRITE])
    found.vcpus = np.union1d(found.vcpus, columns["vcpu"])
