"""Result tables as files: both formats say the same, under our names and those of other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from tests.command_line import small_trace

from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.profiles import resolve
from eptreplay.request.options import Options
from eptreplay.run.batch import run
from eptreplay.run.units import Replays
from eptreplay.tables.files import TableWriter
from eptreplay.tables.other_names import OTHER_NAMES
from eptreplay.tables.schema import BY_NAME, TABLES, csv_names

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.tables.columns import Table


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of a run over guests with names that a spreadsheet would run, and one beyond ASCII."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "traces").mkdir()
    for name in ("=1+1", "@sum", "-2", "gäst"):
        small_trace(folder / "traces" / f"{name}.parquet", rows=2500)
    traces = find_traces([str(folder / "traces")])
    run(Replays(traces, [resolve("ept-emul"), resolve("x86")], Options(intervals=3)), folder / "run")
    return folder / "run" / "tables"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.name))
def test_csv_and_parquet_hold_the_same(tables: Path, table: Table) -> None:
    parquet = pl.read_parquet(tables / f"{table.name}.parquet")
    csv = pl.read_csv(
        tables / f"{table.name}.csv",
        schema_overrides={name: parquet.schema[name] for name in table.names()},
    )
    assert parquet.columns == table.names()
    assert csv.columns == csv_names(table)
    plain = csv.select(table.names()).with_columns(pl.col("guest").str.strip_prefix("'"))
    assert plain.equals(parquet)
    assert not csv["guest"].str.contains("^[=+@-]").any()


@pytest.mark.parametrize("name", ["summary", "intervals"])
def test_counters_have_the_names_of_other_tools_too(tables: Path, name: str) -> None:
    csv = pl.read_csv(tables / f"{name}.csv")
    assert csv.columns[-len(OTHER_NAMES[name]) :] == list(OTHER_NAMES[name])
    assert csv["pf_taken"].to_list() == csv["traps"].to_list()
    resolved = csv["vm_faults_r"] + csv["vm_faults_w"] + csv["vm_faults_x"]
    emulated = csv["ad_emulated_r"] + csv["ad_emulated_w"]
    assert csv["pf_fixed"].to_list() == (resolved + emulated).to_list()
    assert csv["pf_fast"].to_list() == emulated.to_list()
    assert csv["vm.pmap.pde.promotions"].to_list() == csv["promotions"].to_list()
    assert csv["pf_taken"].sum() > csv["pf_fast"].sum() > 0


@pytest.mark.parametrize("name", ["host_memory", "swap_activity"])
def test_a_hosts_memory_has_the_names_of_sysctls_too(name: str, tmp_path: Path) -> None:
    table = BY_NAME[name]
    values: dict[str, list[Any]] = {
        column.name: ["g" if column.type == "string" else number]
        for number, column in enumerate(table.columns)
    }
    writer = TableWriter(tmp_path, table)
    writer.write(values)
    writer.close()
    (row,) = pl.read_csv(tmp_path / f"{name}.csv").rows(named=True)
    for other, parts in OTHER_NAMES[name].items():
        assert row[other] == sum(values[part][0] for part in parts)
    assert len(row) == len(table.columns) + len(OTHER_NAMES[name])


def test_every_column_is_explained_beside_the_files(tables: Path) -> None:
    found = pl.read_csv(tables / "columns.csv")
    assert found.rows() == [(table.name, *column) for table in TABLES for column in table.columns]
