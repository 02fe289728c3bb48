"""Traces with next to nothing in them still make tables that make sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from tests.command_line import MEMORY, small_trace

from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.profiles import resolve
from eptreplay.request.options import Options
from eptreplay.run.batch import run
from eptreplay.run.units import Replays

if TYPE_CHECKING:
    from pathlib import Path

    Frames = dict[str, pl.DataFrame]

MEMORY_PAGES = MEMORY // 4096


def frames_of(traces: Path, out: Path, intervals: int = 4) -> Frames:
    """Replay every trace in a folder and return the tables."""
    options = Options(intervals=intervals, page_accesses=False)
    run(Replays(find_traces([str(traces)]), [resolve("ept-ad")], options), out)
    return {path.stem: pl.read_parquet(path) for path in (out / "tables").glob("*.parquet")}


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """A folder for traces."""
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


def test_a_trace_without_rows_touched_nothing(traces: Path, tmp_path: Path) -> None:
    small_trace(traces / "empty.parquet", rows=0)
    frames = frames_of(traces, tmp_path / "run")
    for name in ("heatmap", "writers", "migrations", "migration_rounds"):
        assert frames[name].is_empty(), name
    assert frames["dirty"]["pages_written"].to_list() == [0]
    assert frames["working_set"]["p100_bytes"].to_list() == [0, 0]
    assert frames["idle_age"].rows() == [("empty", None, None, MEMORY_PAGES, 0, MEMORY)]
    assert set(frames["dirty_rate"]["mean_mib_per_second"]) == {None}


def test_one_access_touches_one_page_at_no_known_rate(traces: Path, tmp_path: Path) -> None:
    small_trace(traces / "one.parquet", rows=1, op=np.array([1], np.uint8))
    frames = frames_of(traces, tmp_path / "run")
    assert frames["heatmap"].rows() == [("one", 0, 0, 16384, 1, 0, 1, 0)]
    assert frames["writers"].rows() == [("one", 0, "vcpu", 0, "", 1, None)]
    assert frames["dirty"]["pages_written"].sum() == 1
    assert frames["migrations"].is_empty(), "no time passes, so no rate is known"
    assert frames["working_set"]["p100_bytes"].unique().to_list() == [4096]
    assert frames["idle_age"]["pages"].to_list() == [1, MEMORY_PAGES - 1]
    assert frames["idle_age"]["pages_written"].to_list() == [1, 0]


def test_a_guest_that_never_writes_migrates_without_a_pause(traces: Path, tmp_path: Path) -> None:
    small_trace(traces / "reader.parquet", rows=100, op=np.zeros(100, np.uint8))
    frames = frames_of(traces, tmp_path / "run")
    assert frames["writers"].is_empty()
    assert frames["dirty"]["pages_written"].sum() == 0
    assert frames["dirty_rate"]["p100_mib_per_second"].to_list() == [0, 0, 0]
    migrations = frames["migrations"]
    assert migrations["converges"].all()
    assert migrations["downtime_s"].unique().to_list() == [0]
    assert migrations["sent_bytes"].unique().to_list() == [MEMORY]
    assert migrations["smallest_gbit_per_second"].unique().to_list() == [0.001]
    assert frames["idle_age"]["pages_written"].sum() == 0


def test_a_trace_of_one_interval_has_one_window(traces: Path, tmp_path: Path) -> None:
    small_trace(traces / "short.parquet", rows=90)
    frames = frames_of(traces, tmp_path / "run", intervals=1)
    assert frames["working_set"].select("kind", "window_intervals", "windows", "p0_bytes").rows() == [
        ("touched", 1, 1, 90 * 4096),
        ("written", 1, 1, 30 * 4096),
    ]
    assert frames["working_set"]["window_s"].to_list() == pytest.approx([890e-9, 890e-9])
    assert frames["idle_age"]["idle_s"].to_list() == [0, None]
    assert len(frames["migrations"]) == 10
    assert frames["dirty_rate"].filter(pl.col("writer") == "all")["variance"].to_list() == [0]


def test_a_trace_whose_clock_counts_no_time_has_no_rates(traces: Path, tmp_path: Path) -> None:
    small_trace(traces / "ticks.parquet", rows=90)
    (traces / "guest.toml").write_text('time_unit = "cycles"\n')
    frames = frames_of(traces, tmp_path / "run")
    assert frames["migrations"].is_empty()
    assert frames["working_set"]["window_s"].null_count() == len(frames["working_set"])
    assert frames["idle_age"]["idle_s"].null_count() == len(frames["idle_age"])
    assert frames["writers"]["mib_per_second"].null_count() == len(frames["writers"])
    assert frames["writers"]["pages_written"].sum() == 30


def test_a_fleet_of_guests_keeps_them_apart(traces: Path, tmp_path: Path) -> None:
    for number in range(200):
        small_trace(traces / f"guest{number:03}.parquet", rows=number % 7)
    frames = frames_of(traces, tmp_path / "run")
    touched = frames["idle_age"].filter(pl.col("age_intervals").is_not_null())
    pages = dict(touched.group_by("guest").agg(pl.col("pages").sum()).iter_rows())
    assert pages == {f"guest{number:03}": number % 7 for number in range(200) if number % 7}
    for name in ("dirty", "dirty_rate", "working_set", "idle_age"):
        assert frames[name]["guest"].n_unique() == 200, name
