from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.pages import check_first_page
from eptreplay.ingest.sources.dataset import open_trace

if TYPE_CHECKING:
    from tests.ingest.conftest import MakeTrace

    from eptreplay.ingest.trace.guest_trace import RowGroup


def check(group: RowGroup, column: str = "gpa") -> None:
    data = Path(str(group.file)).read_bytes()
    check_first_page(lambda length, offset: data[offset : offset + length], group, column)


def moved(group: RowGroup, *, start: int = 0, packed: int = 0, plain: int = 0) -> RowGroup:
    extent = group.extents["gpa"]
    extent = extent._replace(
        start=extent.start + start, packed=extent.packed + packed, plain=extent.plain + plain
    )
    return replace(group, extents={"gpa": extent})


def test_the_pages_of_a_whole_file_are_where_its_footer_says(make_trace: MakeTrace) -> None:
    for group in open_trace(make_trace(rows=300, row_group_size=100)).row_groups:
        for column in group.extents:
            check(group, column)


@pytest.mark.parametrize("start", [-3, -1, 1, 2, 7])
def test_a_chunk_that_begins_elsewhere_is_refused(make_trace: MakeTrace, start: int) -> None:
    group = open_trace(make_trace(rows=10_000)).row_groups[0]
    with pytest.raises(
        TraceError, match=r"row group 0, column 'gpa': its data is damaged \(at byte [\d,]+: "
    ):
        check(moved(group, start=start))


@pytest.mark.parametrize(("packed", "plain"), [(-70_000, 0), (0, -70_000)])
def test_a_page_larger_than_its_chunk_is_refused(make_trace: MakeTrace, packed: int, plain: int) -> None:
    path = make_trace(rows=10_000, use_dictionary=False, compression="none")
    group = open_trace(path).row_groups[0]
    with pytest.raises(TraceError, match=r"a page of [\d,]+ bytes, [\d,]+ unpacked, is beyond its chunk"):
        check(moved(group, packed=packed, plain=plain))
