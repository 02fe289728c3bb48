"""Do the rows agree with what the file says of them? Checksums do not tell when good pages change places."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.page_index import read_page_index
from eptreplay.ingest.trace.ranges import ColumnRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from eptreplay.ingest.native.decode import Piece
    from eptreplay.ingest.native.plain_scan import RowScan
    from eptreplay.ingest.native.rows import Mask, Values
    from eptreplay.ingest.parquet.page_index import PageClaims
    from eptreplay.ingest.trace.extents import ReadAt
    from eptreplay.ingest.trace.guest_trace import RowGroup


class Claims:
    """What footer and page index say of a row group, held against what is decoded of it."""

    def __init__(self, read_at: ReadAt, group: RowGroup, names: Iterable[str]) -> None:
        """Read what the file says.

        Args:
            read_at: reads the open file.
            group: the row group.
            names: columns that are decoded.

        Raises:
            TraceError: the page index is damaged.
        """
        self._group = group
        self._columns: dict[str, _Column] = {}
        for name in names:
            pages = read_page_index(read_at, group, name)
            claimed = _Claim(0, group.ranges.get(name), group.null_counts.get(name))
            inner = [] if pages is None else _page_claims(pages)
            if inner or claimed.range is not None or claimed.nulls is not None:
                self._columns[name] = _Column(claimed, inner)

    def check(self, piece: Piece, known: Mapping[str, ColumnRange]) -> None:
        """Look at the next rows.

        Args:
            piece: pieces of the row group, one after the other.
            known: smallest and largest value of columns that are known already.

        Raises:
            TraceError: a page, or the row group, has other values than the file says.
        """
        rows = len(next(iter(piece.columns.values())))
        for name, column in self._columns.items():
            mask = piece.nulls.get(name)
            values = piece.columns[name]
            if column.pages:
                self._check_pages(name, column, piece.row, values, mask)
            elif mask is not None or name not in known:
                column.found.add(values, mask)
            else:
                column.found.widen(known[name])
            if piece.row + rows == self._group.rows:
                self._compare(name, column.claim, column.found)

    def _check_pages(self, name: str, column: _Column, row: int, values: Values, mask: Mask | None) -> None:
        end = row + len(values)
        while column.page < len(column.pages):
            claim = column.pages[column.page]
            last = column.page + 1 == len(column.pages)
            page_end = self._group.rows if last else column.pages[column.page + 1].first_row
            part = slice(max(claim.first_row, row) - row, min(page_end, end) - row)
            column.found_in_page.add(values[part], None if mask is None else mask[part])
            if page_end > end:
                return
            self._compare(name, claim, column.found_in_page)
            column.found.join(column.found_in_page)
            column.found_in_page = _Found()
            column.page += 1
            if page_end == end:
                return

    def _compare(self, name: str, claim: _Claim, found: _Found) -> None:
        wrong = ""
        if claim.range is not None and found.range() != claim.range:
            values = found.range()
            said = f"values of {claim.range.low} to {claim.range.high}"
            wrong = f"{said}, the rows have {'none' if values is None else f'{values.low} to {values.high}'}"
        elif claim.nulls is not None and found.nulls != claim.nulls:
            wrong = f"{claim.nulls:,} nulls, the rows have {found.nulls:,}"
        if wrong:
            raise TraceError(
                str(self._group.file),
                f"the {'statistics of this page claim' if claim.is_page else 'statistics claim'} {wrong}",
                column=name,
                row_group=self._group.index,
                row=self._group.file_row + claim.first_row if claim.is_page else None,
                expected="rows and statistics that agree",
                advice="the file is damaged, or its writer is wrong: copy or write it again",
            )


class _Claim(NamedTuple):
    """What the file says of a row group, or of the page that begins at a row of it."""

    first_row: int
    range: ColumnRange | None
    nulls: int | None
    is_page: bool = False


class _Found:
    """Smallest and largest value and nulls of rows that were seen."""

    def __init__(self) -> None:
        self.low: int | None = None
        self.high = 0
        self.nulls = 0

    def add(self, values: Values, mask: Mask | None) -> None:
        """Take rows in."""
        if mask is not None:
            self.nulls += int(np.count_nonzero(mask))
            values = values[~mask]
        if len(values):
            self.widen(ColumnRange(int(values.min()), int(values.max())))

    def widen(self, seen: ColumnRange) -> None:
        """Take rows in whose smallest and largest value are known."""
        self.low = seen.low if self.low is None else min(self.low, seen.low)
        self.high = max(self.high, seen.high)

    def join(self, other: _Found) -> None:
        """Take in what was found elsewhere."""
        self.nulls += other.nulls
        known = other.range()
        if known is not None:
            self.widen(known)

    def range(self) -> ColumnRange | None:
        """Return the smallest and largest value; None if there is no value."""
        return None if self.low is None else ColumnRange(self.low, self.high)


class _Column:
    """One column: what the file claims of it and of its pages, and what was found so far."""

    def __init__(self, claim: _Claim, pages: Sequence[_Claim]) -> None:
        self.claim = claim
        self.pages = pages
        self.page = 0
        self.found = _Found()
        self.found_in_page = _Found()


def _page_claims(pages: PageClaims) -> list[_Claim]:
    nulls = pages.nulls or (None,) * len(pages.first_rows)
    return [_Claim(*claim, is_page=True) for claim in zip(pages.first_rows, pages.ranges, nulls, strict=True)]


def ranges_seen(piece: Piece, seen: RowScan) -> dict[str, ColumnRange]:
    """Return what the scan of good rows has found of their columns."""
    known = {"gpa": ColumnRange(*seen.gpa), "op": ColumnRange(*seen.op)}
    time = piece.columns.get("time")
    if time is not None:
        known["time"] = ColumnRange(int(time[0]), int(time[-1]))
    return known
