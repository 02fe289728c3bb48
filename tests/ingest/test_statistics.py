from __future__ import annotations

from pathlib import Path

import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.footer import Chunk, Group
from eptreplay.ingest.parquet.statistics import GroupStatistics, group_statistics
from eptreplay.ingest.trace.extents import Extent
from eptreplay.ingest.trace.ranges import ColumnRange

FILE = Path("t.parquet")


def statistics(**chunks: tuple[int | str | None, int | str | None, int | None]) -> GroupStatistics:
    made = {
        name: Chunk(Extent(4, 10, 10), "zstd", frozenset({"PLAIN"}), False, low, high, nulls)
        for name, (low, high, nulls) in chunks.items()
    }
    return group_statistics(FILE, 3, Group(10, made))


def test_ranges_and_nulls_are_collected() -> None:
    found = statistics(time=(5, 9, 0), vcpu=(0, 0, 2), gpa=(None, None, None))
    assert found == GroupStatistics(
        {"time": ColumnRange(5, 9), "vcpu": ColumnRange(0, 0)},
        frozenset({"vcpu"}),
        None,
        {"time": 0, "vcpu": 2},
    )


def test_statistics_that_contradict_themselves_are_not_used() -> None:
    assert statistics(time=(9, 5, 0)).ranges == {}


def test_the_guest_of_a_row_group_is_that_of_all_its_rows() -> None:
    assert statistics(guest=("web", "web", 0)).guest == "web"


@pytest.mark.parametrize(
    ("guest", "message"),
    [
        (("db", "web", 0), "rows of 'db' to 'web'"),
        ((None, None, None), "no statistics"),
        (("web", "web", 1), "nulls"),
    ],
)
def test_a_row_group_with_rows_of_several_guests_is_refused(
    guest: tuple[str | None, str | None, int | None], message: str
) -> None:
    with pytest.raises(TraceError, match=f"row group 3, column 'guest': this row group has {message}"):
        statistics(guest=guest)
