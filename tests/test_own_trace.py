"""Of what is before a guest's first row and after its last, nothing is known: it is neither idle nor cold there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from tests.command_line import eptreplay, small_trace

if TYPE_CHECKING:
    from pathlib import Path

    Frames = dict[str, pl.DataFrame]

SECOND = 10**9
SPAN, STEP = 40, SECOND // 4
"""The host's time in seconds; rows of a guest come every STEP."""


def rows_of(path: Path, begin: int, end: int) -> Path:
    """Write a guest that writes pages 0, 1, 2 ... 63 in turn from `begin` to `end`, in seconds."""
    time = np.arange(begin * SECOND, end * SECOND + 1, STEP, dtype=np.uint64)
    rows = len(time)
    page = np.arange(rows, dtype=np.uint64) % 64
    return small_trace(path, rows=rows, time=time, gpa=page * np.uint64(4096), op=np.ones(rows, np.uint8))


@pytest.fixture(scope="module", params=[(0, 10), (30, 40), (10, 24)], ids=["ends", "begins", "both"])
def lives(request: pytest.FixtureRequest) -> tuple[int, int]:
    """When the short guest begins and ends, in seconds."""
    begin, end = request.param
    return int(begin), int(end)


@pytest.fixture(scope="module")
def run(lives: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short guest and one that lasts for all of the host's time, on one host, in intervals of a second."""
    folder = tmp_path_factory.mktemp("own")
    rows_of(folder / "short.parquet", *lives)
    rows_of(folder / "whole.parquet", 0, SPAN)
    answer = eptreplay(
        "replay", folder / "short.parquet", folder / "whole.parquet", "-p", "ept-ad", "--host-memory", "16M",
        "--scan-interval", "1s", "--align", "clock", "--intervals", SPAN, "--bandwidth", "0.01", "--out", folder / "run",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return folder / "run"


@pytest.fixture(scope="module")
def frames(run: Path) -> Frames:
    """Its tables, of the short guest alone."""
    return {
        path.stem: pl.read_parquet(path).filter(guest="short")
        for path in (run / "tables").glob("*.parquet")
        if path.stem != "costs"
    }


def intervals_of(begin: int, end: int) -> int:
    """Return how many intervals of a second a guest reservable into."""
    return min(end, SPAN - 1) - begin + 1


def test_ages_count_to_the_guests_own_end(frames: Frames, lives: tuple[int, int]) -> None:
    begin, end = lives
    time = np.arange(begin * SECOND, end * SECOND + 1, STEP)
    rows = pl.DataFrame({"time": time, "page": np.arange(len(time)) % 64})
    last = rows.group_by("page").agg(pl.col("time").max())
    of_page = last.with_columns(interval=(pl.col("time") // SECOND).clip(upper_bound=SPAN - 1))
    last_interval = min(end, SPAN - 1)
    truth = (
        of_page.with_columns(
            age=last_interval - pl.col("interval"),
            idle=pl.max_horizontal(pl.lit(0), end - (pl.col("interval") + 1)).cast(pl.Float64),
        )
        .group_by("age", "idle")
        .agg(pages=pl.len().cast(pl.Int64))
        .sort("age")
    )
    found = frames["idle_age"].drop_nulls("age_intervals").sort("age_intervals")
    assert found.select("age_intervals", "idle_s", "pages").rows() == truth.rows()


def test_no_page_is_cold_for_longer_than_the_trace(frames: Frames, lives: tuple[int, int]) -> None:
    begin, end = lives
    ages = frames["swap_candidates"]["age_time"]
    assert len(ages) > 0
    assert ages.max() <= (end - begin) * SECOND  # type: ignore[operator]
    assert frames["cold_age"]["age_time"].max() <= (end - begin) * SECOND  # type: ignore[operator]
    # The pages are written in turn every 16 seconds, so none that was touched can be older than that, give or take a scan.
    assert ages.max() <= 17 * SECOND  # type: ignore[operator]


def test_windows_and_rates_are_those_of_the_guests_own_intervals(
    frames: Frames, lives: tuple[int, int]
) -> None:
    begin, end = lives
    working = frames["working_set"].filter(window_intervals=1, kind="touched")
    assert working["windows"].to_list() == [intervals_of(begin, end)]
    assert working["p0_bytes"].to_list() == [4096 * (1 if end < SPAN else 4)]
    assert frames["working_set"]["window_s"].max() == end - begin
    rates = frames["dirty_rate"].filter(writer="all")
    assert rates["intervals"].to_list() == [intervals_of(begin, end)]
    assert frames["migrations"]["trace_lengths"].to_list() == pytest.approx(
        (frames["migrations"]["total_s"] / (end - begin)).to_list()
    )


def test_intervals_begin_where_the_host_does(frames: Frames) -> None:
    assert frames["intervals"]["start_time"].to_list() == [at * SECOND for at in range(SPAN)]


def test_cards_say_what_is_not_known(run: Path, lives: tuple[int, int]) -> None:
    begin, end = lives
    (page,) = (run / "guests").glob("short*.html")
    text = page.read_text()
    parts = [f"{begin} s before"] if begin else []
    parts += [f"{SPAN - end} s after"] if end < SPAN else []
    assert f"Of the host&#39;s {' and '.join(parts)} its trace nothing is known." in text
    summary = eptreplay("summary", run).out
    assert "its trace nothing is known" in " ".join(summary.split())
    (other,) = (run / "guests").glob("whole*.html")
    assert "nothing is known" not in other.read_text()
