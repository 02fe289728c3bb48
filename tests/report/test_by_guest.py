"""Tables guest by guest: the rows of a table that is read at once, whatever their order and row groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eptreplay.errors import OutputError
from eptreplay.report.read import by_guest
from eptreplay.report.read.by_guest import TableByGuest
from eptreplay.tables import files
from eptreplay.tables.files import arrow_schema, read_table
from eptreplay.tables.schema import BY_NAME

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = BY_NAME["faults"]
IN_ORDER = ["a"] * 3 + ["b"] * 5 + ["c"] + ["d"] * 7
ORDERS = {
    "in order": IN_ORDER,
    "scattered": ["b", "a", "b", "c", "c", "a", "b", "d", "a"],
    "one guest": ["a"] * 9,
    "no row": [],
    "odd names": ["", "a\nb", "\U0001f600", "'; drop", ""],
}


def write(run: Path, guests: list[str], row_group_size: int) -> None:
    columns: dict[str, Any] = {column.name: ["x"] * len(guests) for column in FAULTS.columns}
    columns |= {"guest": guests, "count": list(range(len(guests)))}
    (run / "tables").mkdir(parents=True)
    table = pa.table(
        {field.name: pa.array(columns[field.name], field.type) for field in arrow_schema(FAULTS)}
    )
    pq.write_table(table, run / "tables" / "faults.parquet", row_group_size=row_group_size)


@pytest.mark.parametrize("rows", [1, 2, 4, 100])
@pytest.mark.parametrize("guests", ORDERS.values(), ids=ORDERS)
def test_a_guest_has_the_rows_of_the_whole_table_in_their_order(
    tmp_path: Path, guests: list[str], rows: int
) -> None:
    write(tmp_path, guests, rows)
    whole = read_table(tmp_path, FAULTS)
    table = TableByGuest(tmp_path, FAULTS)
    for guest in [*dict.fromkeys(guests), "none", *reversed(guests)]:
        assert table.of(guest).equals(whole.filter(pl.col("guest") == guest))
        assert table.of(guest).schema == whole.schema


def test_in_the_order_of_the_table_every_row_group_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, IN_ORDER, 4)
    table = TableByGuest(tmp_path, FAULTS)
    read: list[int] = []

    def counted(rows: pa.Table) -> pl.DataFrame:
        read.append(len(rows))
        return files.to_polars(rows)

    monkeypatch.setattr(by_guest, "to_polars", counted)
    for guest in "abcd":
        for _ in range(3):
            table.of(guest)
    # Whoever asks three times for rows of two row groups reads the first of them again.
    assert len(read) <= 4 + 2 * 2 * 2


def test_a_run_without_the_table_has_no_rows_and_a_missing_or_damaged_one_is_told(tmp_path: Path) -> None:
    assert TableByGuest(tmp_path, BY_NAME["swap_activity"]).of("a").is_empty()
    with pytest.raises(OutputError, match=r"summary\.parquet: cannot be read .*; replay again"):
        TableByGuest(tmp_path, BY_NAME["summary"])
    write(tmp_path, IN_ORDER, 4)
    path = tmp_path / "tables" / "faults.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OutputError, match=r"faults\.parquet: cannot be read"):
        TableByGuest(tmp_path, FAULTS)
