"""Situations that people who measure guest memory have reported, rebuilt in small, from the command line to the tables."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay

from eptreplay.ingest.sources.dataset import find_traces, open_trace
from eptreplay.ingest.trace.suffixes import without_suffix

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 20_000
LAST = (ROWS - 1) * 50_000
MEAN = ROWS * 4096 / 2**20 / (LAST / 1e9)
"""MiB/s that the burst writes."""

METADATA = {"memory_segments": json.dumps([{"gpa": 0, "bytes": 64 << 20, "kind": "ram"}]), "vcpus": "1"}
TOML = 'vcpus = 1\nsegments = [{ gpa = 0, bytes = 0x4000000, kind = "ram" }]\n'


def burst(rows: int = ROWS, step: int = 50_000) -> dict[str, Any]:
    return {
        "time": np.arange(rows, dtype=np.uint64) * np.uint64(step),
        "vcpu": np.zeros(rows, np.uint16),
        "gpa": np.arange(rows, dtype=np.uint64) % np.uint64(3000) * np.uint64(4096),
        "op": np.ones(rows, np.uint8),
    }


def write(
    path: Path,
    columns: dict[str, Any],
    metadata: dict[str, str] | None = None,
    **options: Any,  # noqa: ANN401 - options of any type
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata or {}), path, **options)
    return path


def replayed(tmp_path: Path, source: Path, *options: object) -> Path:
    out = tmp_path / "out"
    answer = eptreplay("replay", source, "-p", "ept-ad", "--out", out, *options)
    assert answer.code == 0, answer.err
    return out / "tables"


def check_times(tables: Path, mean: float = MEAN) -> None:
    summary = pl.read_parquet(tables / "summary.parquet")
    assert (summary["rows"][0], summary["first_time"][0], summary["last_time"][0]) == (ROWS, 0, LAST)
    assert pl.read_parquet(tables / "migrations.parquet").height == 10
    found = pl.read_parquet(tables / "dirty_rate.parquet")["mean_mib_per_second"][0]
    assert found == pytest.approx(mean, rel=1e-9)


def test_rows_outside_memory_are_told(tmp_path: Path) -> None:
    page = np.concatenate([np.arange(100), (1 << 20) + np.arange(900)]).astype(np.uint64)
    source = write(tmp_path / "a.parquet", {**burst(1000), "gpa": page * np.uint64(4096)}, METADATA)
    said = "900 of 1,000 rows"
    answer = eptreplay("check", source, "--json", tmp_path / "check.json")
    assert said in answer.out
    outside = json.loads((tmp_path / "check.json").read_text())["traces"][0]["outside_memory"]
    assert outside == {
        "rows": 900,
        "accesses": 900,
        "of_accesses": 1000,
        "lowest": 1 << 32,
        "highest": (1 << 32) + 899 * 4096,
    }
    answer = eptreplay("replay", source, "-p", "ept-ad", "--out", tmp_path / "out")
    assert said in answer.err
    assert said in eptreplay("summary", tmp_path / "out").out


def test_joined_buffers_are_sorted_by_the_advised_command(tmp_path: Path) -> None:
    ours = np.concatenate([np.arange(100) * 10 + 3000 + buffer * 10_000 for buffer in range(50)])
    other = np.concatenate([np.arange(100) * 10 + buffer * 10_000 for buffer in range(50)])
    time = np.stack([ours.reshape(50, 100), other.reshape(50, 100)], axis=1).reshape(-1)
    vcpu = np.tile(np.repeat([0, 1], 100), 50).astype(np.uint16)
    columns = {
        **burst(10_000),
        "time": time.astype(np.uint64),
        "vcpu": vcpu,
        "op": (vcpu == 0).astype(np.uint8),
    }
    source = write(tmp_path / "a.parquet", columns, {**METADATA, "vcpus": "2"})
    answer = eptreplay("replay", source, "-p", "ept-ad", "--out", tmp_path / "out")
    assert answer.code == 2
    assert "5,000 of 10,000 rows are out of order" in answer.err
    assert "eptreplay pack --sort" in answer.err
    assert "skip" not in answer.err
    assert eptreplay("pack", "--sort", source, "-o", tmp_path / "b.parquet").code == 0
    found = pq.read_table(tmp_path / "b.parquet")
    order = np.argsort(time, kind="stable")
    assert found["time"].to_pylist() == time[order].tolist()
    assert found["gpa"].to_pylist() == columns["gpa"][order].tolist()
    assert found["op"].to_pylist() == columns["op"][order].tolist()


def test_a_file_without_statistics_has_the_same_times(tmp_path: Path) -> None:
    source = write(tmp_path / "a.parquet", burst(), METADATA, write_statistics=False, row_group_size=3000)
    before = list(tmp_path.iterdir())
    check_times(replayed(tmp_path, source))
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "out"])


@pytest.mark.parametrize("suffix", ["parquet", "pq"])
@pytest.mark.parametrize("name", ["part.{}", "data_{}", "part-{}-c0ffee", "x{}y7"])
@pytest.mark.parametrize("statistics", [True, False])
def test_parts_come_in_the_order_of_their_numbers(
    tmp_path: Path, name: str, suffix: str, statistics: bool
) -> None:
    columns = burst(1200)
    for part in range(12):
        rows = {key: values[part * 100 : part * 100 + 100] for key, values in columns.items()}
        path = tmp_path / "guest=web" / f"{name.format(part)}.{suffix}"
        write(path, rows, METADATA, write_statistics=statistics)
    (trace,) = find_traces([str(tmp_path)])
    assert trace.name == "web"
    assert trace.rows == 1200
    assert [without_suffix(group.file.name) for group in trace.row_groups] == [
        name.format(part) for part in range(12)
    ]
    answer = eptreplay("check", tmp_path)
    assert (answer.code, answer.err) == (0, "")


def test_parts_with_names_in_another_order_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    columns = burst(300)
    for part, name in enumerate("cab"):
        rows = {key: values[part * 100 : part * 100 + 100] for key, values in columns.items()}
        write(tmp_path / "guest=web" / f"{name}.parquet", rows, METADATA)
    write(
        tmp_path / "guest=web" / "empty.parquet",
        {key: values[:0] for key, values in columns.items()},
        METADATA,
    )
    answer = eptreplay("check", tmp_path)
    assert answer.code == 0
    assert "its 4 files are read in the order of their times" in answer.err
    (trace,) = find_traces([str(tmp_path)])
    assert [without_suffix(group.file.name) for group in trace.row_groups] == list("cab")


def test_ten_files_that_look_like_parts_are_hinted_at(tmp_path: Path) -> None:
    columns = burst(1000)
    for part in range(10):
        rows = {key: values[part * 100 : part * 100 + 100] for key, values in columns.items()}
        write(tmp_path / "parts" / f"part.{part}.parquet", rows, METADATA)
        write(tmp_path / "guests" / f"vm{part}.parquet", columns, METADATA)
    assert "10 files like part.0.parquet" in eptreplay("check", tmp_path / "parts").err
    assert "guest=NAME/" in eptreplay("inspect", tmp_path / "parts").err
    assert eptreplay("check", tmp_path / "guests").err == ""  # side by side, so guests
    (tmp_path / "parts" / "part.9.parquet").unlink()
    assert eptreplay("check", tmp_path / "parts").err == ""


def test_signed_integers_and_timestamps_make_the_same_tables(tmp_path: Path) -> None:
    columns = {name: pa.array(values).cast(pa.int64()) for name, values in burst().items()}
    columns["time"] = columns["time"].cast(pa.timestamp("ns"))
    columns["count"] = pa.array(np.ones(ROWS, np.int64))
    source = write(tmp_path / "in" / "a.parquet", columns)
    (tmp_path / "in" / "guest.toml").write_text(TOML)
    check_times(replayed(tmp_path, source))


def test_cycles_have_a_rate_by_metadata_guest_toml_or_option(tmp_path: Path) -> None:
    cycles = {**METADATA, "time_unit": "cycles"}
    source = write(tmp_path / "a.parquet", burst(), cycles)
    answer = eptreplay("replay", source, "-p", "ept-ad", "--out", tmp_path / "out")
    assert answer.code == 0
    page = next((tmp_path / "out").rglob("a*/index.html"), None) or next((tmp_path / "out").rglob("*a*.html"))
    assert "counts cycles" in page.read_text()
    assert "clock_mhz" in page.read_text()
    check_times(replayed(tmp_path, source, "--clock-mhz", "2400", "--overwrite"), MEAN * 2.4)
    (tmp_path / "guest.toml").write_text("clock_mhz = 100\n")
    check_times(replayed(tmp_path, source, "--overwrite"), MEAN / 10)
    (tmp_path / "guest.toml").unlink()
    write(source, burst(), {**cycles, "clock_mhz": "1000"})
    check_times(replayed(tmp_path, source, "--every", "10ms", "--policy", "age", "--overwrite"))


def test_picoseconds_are_a_unit(tmp_path: Path) -> None:
    source = write(tmp_path / "a.parquet", burst(), {**METADATA, "time_unit": "ps"})
    check_times(replayed(tmp_path, source), MEAN * 1000)


def test_whole_seconds_make_fewer_intervals(tmp_path: Path) -> None:
    columns = {**burst(1000), "time": np.arange(1000, dtype=np.uint64) // np.uint64(100)}
    source = write(tmp_path / "a.parquet", columns, {**METADATA, "time_unit": "s"})
    answer = eptreplay("replay", source, "-p", "ept-ad", "--out", tmp_path / "out")
    assert "its clock advances by 9 s in all, so that there are 9 intervals instead of 256" in answer.err
    intervals = pl.read_parquet(tmp_path / "out" / "tables" / "intervals.parquet")
    assert intervals.height == 9
    assert intervals["end_time"].to_list() == list(range(1, 10))


@pytest.mark.parametrize(
    ("toml", "options", "says"),
    [
        ('clock_mhz = 100\ntime_unit = "ns"\n', [], "'clock_mhz' is the rate of a trace that counts cycles"),
        ("clock_mhz = 0\n", [], "'clock_mhz' is 0"),
        ('clock_mhz = "2 GHz"\n', [], "'clock_mhz' is '2 GHz'"),
        ("", ["--clock-mhz", "2400"], "--clock-mhz needs a trace that counts cycles"),
        ("", ["--clock-mhz", "0"], "'0' is no rate of a clock"),
    ],
)
def test_rates_that_mean_nothing_are_refused(
    tmp_path: Path, toml: str, options: list[str], says: str
) -> None:
    source = write(tmp_path / "a.parquet", burst(10), METADATA)
    if toml:
        (tmp_path / "guest.toml").write_text(toml)
    answer = eptreplay("replay", source, "-p", "ept-ad", "--out", tmp_path / "out", *options)
    assert answer.code == 2
    assert says in answer.err


def test_addresses_of_a_process_get_a_sentence_and_a_command(tmp_path: Path) -> None:
    gpa = np.uint64(0x7F00_0000_0000) + np.arange(1000, dtype=np.uint64) * np.uint64(64)
    everything = {**METADATA, "memory_segments": json.dumps([{"gpa": 0, "bytes": 1 << 47, "kind": "ram"}])}
    source = write(tmp_path / "a.parquet", {**burst(1000), "gpa": gpa}, everything)
    assert "those of a process" in eptreplay("inspect", source).out
    assert eptreplay("pack", "--dense", source, "-o", tmp_path / "b.parquet").code == 0
    assert open_trace(tmp_path / "b.parquet").ram_pages == 16


def test_guest_toml_is_found_one_folder_up_and_the_nearer_one_counts(tmp_path: Path) -> None:
    source = write(tmp_path / "guest=web" / "a.parquet", burst(100))
    answer = eptreplay("check", tmp_path)
    assert answer.code == 2
    assert f"(looked for {tmp_path}/guest=web/guest.toml and {tmp_path}/guest.toml)" in answer.err
    (tmp_path / "guest.toml").write_text(TOML + "[guests.web]\nvcpus = 3\n")
    (trace,) = find_traces([str(tmp_path)])
    assert (trace.name, trace.vcpus, trace.config) == ("web", 3, str(tmp_path / "guest.toml"))
    (source.parent / "guest.toml").write_text(TOML)
    (trace,) = find_traces([str(tmp_path)])
    assert trace.vcpus == 1
