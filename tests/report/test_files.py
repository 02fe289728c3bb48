"""Tables on disk: names of files, formulas that spreadsheets must not run, tables that a run does not have."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest
from tests.report.runs import MadeGuest, write_run

from eptreplay.errors import OutputError, UsageError
from eptreplay.safe_text import printable
from eptreplay.tables.files import (
    SLUG_LENGTH,
    TABLES_FOLDER,
    TableWriter,
    arrow_schema,
    read_run_file,
    read_table,
    slug,
)
from eptreplay.tables.schema import BY_NAME, CORE, FAULTS, SUMMARY, TABLES

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = [
    "</script><script>alert(1)</script>",
    "../../x",
    '=HYPERLINK("http://x")',
    "n" * 300,
    "",
    "..",
    "a/b\\c\0d",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_file_names_are_harmless_and_short_whatever_the_guest_is_called(name: str) -> None:
    found = slug(name)
    assert all(character.isascii() and (character.isalnum() or character in "-_") for character in found)
    assert 8 <= len(found) <= SLUG_LENGTH + 9


def test_file_names_tell_guests_apart_that_look_alike() -> None:
    assert len({slug(name) for name in ("a b", "a/b", "a-b", "a_b", "n" * 300, "n" * 301)}) == 6


def test_file_names_do_not_change() -> None:
    assert slug("web-1vcpu") == "web-1vcpu-f57ce518"


def fault(guest: str) -> dict[str, list[object]]:
    return {
        "guest": [guest],
        "profile": ["p"],
        "kind": ["read"],
        "cause": ["first_use"],
        "resolution": ["vm_fault"],
        "count": [1],
    }


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=1", " =1", "\ufeff=1", "\uff1d1"]
)
def test_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe(tmp_path: Path, name: str) -> None:
    (tmp_path / TABLES_FOLDER).mkdir()
    writer = TableWriter(tmp_path / TABLES_FOLDER, FAULTS)
    writer.write(fault(name))
    writer.close()
    with (tmp_path / TABLES_FOLDER / "faults.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == FAULTS.names()
    assert rows[1][0] == f"'{printable(name)}"
    assert read_table(tmp_path, FAULTS)["guest"].to_list() == [name]


def test_rows_of_an_arrow_table_are_written_in_the_order_of_the_columns(tmp_path: Path) -> None:
    (tmp_path / TABLES_FOLDER).mkdir()
    writer = TableWriter(tmp_path / TABLES_FOLDER, FAULTS)
    frame = pl.DataFrame(fault("g"))
    writer.append(frame.select(reversed(frame.columns)).to_arrow())
    writer.close()
    assert read_table(tmp_path, FAULTS).equals(frame)


def test_a_table_that_a_run_does_not_have_has_no_rows(tmp_path: Path) -> None:
    found = read_table(tmp_path, FAULTS)
    assert found.is_empty()
    assert found.columns == FAULTS.names()


def test_a_table_that_every_run_has_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"summary\.parquet"):
        read_table(tmp_path, SUMMARY)


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    (tmp_path / TABLES_FOLDER).mkdir()
    (tmp_path / TABLES_FOLDER / "faults.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(OutputError, match="replay again"):
        read_table(tmp_path, FAULTS)


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run of eptreplay"):
        read_run_file(tmp_path)


def test_what_was_replayed_is_kept_as_it_was_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [MadeGuest(name) for name in HOSTILE])
    assert [guest["name"] for guest in read_run_file(run)["guests"]] == list(HOSTILE)


def test_tables_and_columns_have_names_of_their_own_and_say_what_they_mean() -> None:
    assert len(BY_NAME) == len(TABLES)
    assert BY_NAME.keys() >= CORE
    for table in TABLES:
        assert len(set(table.names())) == len(table.columns)
        assert table.names()[0] == "guest"
        assert all(column.meaning for column in table.columns)
        assert isinstance(arrow_schema(table), pa.Schema)
