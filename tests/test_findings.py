"""What the tables of analysis say of a real trace is what plain queries over its rows say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from eptreplay.analysis.distribution import window_lengths
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.profiles import resolve
from eptreplay.request.choices import Policy
from eptreplay.request.options import Options
from eptreplay.run.batch import run
from eptreplay.run.units import Replays
from eptreplay.units import Every

if TYPE_CHECKING:
    from eptreplay.ingest.trace.guest_trace import GuestTrace

    Frames = dict[str, pl.DataFrame]

SAMPLE = Path(__file__).parents[1] / "traces" / "full-2vcpu.parquet"
PROFILES = ["ept-ad", "skylake-sp", "ept-emul"]
INTERVALS = 24
EVERY = 150_000
WRITE = 1
PAGE = 4096
MIB = 1 << 20


@pytest.fixture(scope="module")
def trace() -> GuestTrace:
    """A trace with two vCPUs and superpages."""
    return find_traces([str(SAMPLE)])[0]


@pytest.fixture(scope="module")
def frames(trace: GuestTrace, tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """Its tables, with harvests, as a run writes them."""
    options = Options(Policy.HARVEST, Every(EVERY, timed=False), intervals=INTERVALS, page_accesses=False)
    folder = tmp_path_factory.mktemp("findings") / "run"
    run(Replays([trace], [resolve(name) for name in PROFILES], options), folder)
    return {path.stem: pl.read_parquet(path) for path in (folder / "tables").glob("*.parquet")}


@pytest.fixture(scope="module")
def bounds() -> list[int]:
    """Where intervals begin and the last one ends, by docs/semantics.md: equal parts of the trace's time."""
    first, last = pl.read_parquet(SAMPLE, columns=["time"])["time"].to_numpy()[[0, -1]].astype(int)
    return [first + -(-(last - first) * number // INTERVALS) for number in range(INTERVALS + 1)]


@pytest.fixture(scope="module")
def rows(trace: GuestTrace, bounds: list[int]) -> pl.DataFrame:
    """Its rows that touch memory, each with its number, page, 2 MiB region and interval."""
    plain = pl.read_parquet(SAMPLE).with_row_index("row")
    interval = np.searchsorted(bounds[1:-1], plain["time"].to_numpy(), side="right")
    page = pl.col("gpa") // PAGE
    memory = pl.any_horizontal(
        page.is_between(begin, end, closed="left") for begin, end in trace.ram_ranges()
    )
    return plain.with_columns(
        page=page, region=page // 512, interval=pl.Series(interval, dtype=pl.Int64)
    ).filter(memory)


@pytest.fixture(scope="module")
def writes(rows: pl.DataFrame) -> pl.DataFrame:
    """Those that write."""
    return rows.filter(pl.col("op") == WRITE)


def pages_of(regions: pl.Series) -> int:
    """Return how many pages of 2 MiB regions are memory."""
    ranges = find_traces([str(SAMPLE)])[0].ram_ranges()
    return sum(
        max(0, min(end, (region + 1) * 512) - max(begin, region * 512))
        for region in regions.to_list()
        for begin, end in ranges
    )


def by_interval(frame: pl.DataFrame, counted: str) -> list[int]:
    """Return the distinct values of a column in every interval."""
    counts = dict(frame.group_by("interval").agg(pl.col(counted).n_unique()).iter_rows())
    return [counts.get(interval, 0) for interval in range(INTERVALS)]


def test_the_heatmap_counts_distinct_pages_by_kind(
    frames: Frames, rows: pl.DataFrame, trace: GuestTrace
) -> None:
    heatmap = frames["heatmap"]
    (size,) = heatmap["bytes"].unique()
    last = trace.ram_ranges()[-1][1]
    assert 128 < last * PAGE / size <= 256
    start = (pl.col("gpa") // size * size).alias("gpa_start")
    expected = (
        rows.group_by("interval", start)
        .agg(
            pages_touched=pl.col("page").n_unique(),
            pages_read=pl.col("page").filter(pl.col("op") == 0).n_unique(),
            pages_written=pl.col("page").filter(pl.col("op") == WRITE).n_unique(),
            pages_fetched=pl.col("page").filter(pl.col("op") == 2).n_unique(),
        )
        .sort("interval", "gpa_start")
    )
    assert heatmap.select(expected.columns).rows() == expected.rows()


def test_dirty_pages_and_regions_are_those_that_were_written(frames: Frames, writes: pl.DataFrame) -> None:
    regions = writes.select("interval", "region").unique()
    pages = {
        interval: pages_of(part["region"])
        for (interval,), part in regions.partition_by("interval", as_dict=True).items()
    }
    for profile in PROFILES:
        dirty = frames["dirty"].filter(pl.col("profile") == profile)
        assert dirty["pages_written"].to_list() == by_interval(writes, "page")
        assert dirty["regions_written"].to_list() == by_interval(writes, "region")
        assert dirty["pages_in_regions"].to_list() == [pages.get(number, 0) for number in range(INTERVALS)]


def test_harvests_find_what_was_written_since_the_one_before(
    frames: Frames, rows: pl.DataFrame, writes: pl.DataFrame
) -> None:
    sweeps = int(pl.read_parquet(SAMPLE, columns=["op"]).height // EVERY)
    assert sweeps > 3
    written = writes.group_by(harvest=pl.col("row") // EVERY).agg(pages=pl.col("page").n_unique())
    expected = [0] * INTERVALS
    for harvest, pages in written.iter_rows():
        if harvest < sweeps:
            before = rows.filter(pl.col("row") < (harvest + 1) * EVERY)
            expected[before["interval"][-1]] += pages
    for profile in PROFILES:
        dirty = frames["dirty"].filter(pl.col("profile") == profile)
        assert dirty["harvest_written"].to_list() == expected
        assert dirty["harvest_pages"].to_list() == expected, "this pmap sees neither more nor less"
        assert dirty["harvests"].sum() == sweeps
    assert frames["dirty"].filter(pl.col("profile") == "ept-emul")["refaults"].sum() > 0


def test_a_page_belongs_to_the_vcpu_that_wrote_it_first(
    frames: Frames, writes: pl.DataFrame, bounds: list[int]
) -> None:
    first = writes.group_by("interval", "page", maintain_order=True).agg(pl.col("vcpu").first())
    seconds = pl.Series(np.diff(bounds) / 1e9)
    expected = first.group_by("interval", "vcpu").agg(pages_written=pl.len()).sort("interval", "vcpu")
    writers = frames["writers"]
    assert writers.select("interval", "vcpu", "pages_written").rows() == expected.rows()
    assert writers["writer"].unique().to_list() == ["vcpu"]
    rate = expected["pages_written"] * (PAGE / MIB) / seconds.gather(expected["interval"])
    assert writers["mib_per_second"].to_list() == pytest.approx(rate.to_list())


def test_dirty_rates_are_distributed_over_all_intervals(
    frames: Frames, writes: pl.DataFrame, bounds: list[int]
) -> None:
    first = writes.group_by("interval", "page", maintain_order=True).agg(pl.col("vcpu").first())
    seconds = np.diff(bounds) / 1e9
    for vcpu in (None, 0, 1):
        part = first if vcpu is None else first.filter(pl.col("vcpu") == vcpu)
        rate = pl.Series(by_interval(part, "page")) * (PAGE / MIB) / pl.Series(seconds)
        row = frames["dirty_rate"].filter(pl.col("vcpu").eq_missing(vcpu)).row(0, named=True)
        assert row["writer"] == ("all" if vcpu is None else "vcpu")
        assert row["intervals"] == INTERVALS
        assert row["mean_mib_per_second"] == pytest.approx(rate.mean())
        assert row["variance"] == pytest.approx(rate.var(ddof=0))
        assert row["p0_mib_per_second"] == pytest.approx(rate.min())
        assert row["p50_mib_per_second"] == pytest.approx(rate.sort()[INTERVALS // 2 - 1])
        assert row["p100_mib_per_second"] == pytest.approx(rate.max())


def test_working_sets_are_distinct_pages_of_windows(
    frames: Frames, rows: pl.DataFrame, writes: pl.DataFrame
) -> None:
    for kind, part in (("touched", rows), ("written", writes)):
        found = frames["working_set"].filter(pl.col("kind") == kind)
        assert found["window_intervals"].to_list() == window_lengths(INTERVALS) == [1, 2, 4, 8, 16, 24]
        places = part.select("interval", "page").unique()
        for row in found.iter_rows(named=True):
            length = row["window_intervals"]
            sizes = [
                places.filter(pl.col("interval").is_between(begin, begin + length, closed="left"))[
                    "page"
                ].n_unique()
                * PAGE
                for begin in range(INTERVALS - length + 1)
            ]
            sizes.sort()
            assert row["windows"] == len(sizes)
            assert row["mean_bytes"] == pytest.approx(sum(sizes) / len(sizes))
            assert [row["p0_bytes"], row["p50_bytes"], row["p100_bytes"]] == [
                sizes[0],
                sizes[(len(sizes) - 1) // 2],
                sizes[-1],
            ]


@pytest.mark.parametrize(("begin", "end"), [(0, 24), (5, 6), (3, 17), (23, 24)])
def test_returns_give_the_distinct_pages_of_any_stretch_of_time(
    frames: Frames, rows: pl.DataFrame, writes: pl.DataFrame, begin: int, end: int
) -> None:
    within = pl.col("interval").is_between(begin, end, closed="left")
    first = within & (pl.col("previous").fill_null(-1) < begin)
    found = dict(frames["returns"].filter(first).group_by("kind").agg(pl.col("pages").sum()).iter_rows())
    assert found["touched"] == rows.filter(within)["page"].n_unique()
    assert found["written"] == writes.filter(within)["page"].n_unique()
    assert found["regions"] == pages_of(writes.filter(within)["region"].unique())


def test_idle_ages_are_counted_from_the_last_touch(
    frames: Frames, rows: pl.DataFrame, writes: pl.DataFrame, trace: GuestTrace, bounds: list[int]
) -> None:
    last = rows.group_by("page").agg(age=INTERVALS - 1 - pl.col("interval").max())
    ever = last.join(writes.select("page").unique(), on="page")
    pages = dict(last.group_by("age").agg(pl.len()).iter_rows())
    dirty = dict(ever.group_by("age").agg(pl.len()).iter_rows())
    step = (bounds[-1] - bounds[0]) / INTERVALS / 1e9
    found = frames["idle_age"].rows(named=True)
    *touched, never = found
    assert [row["age_intervals"] for row in touched] == sorted(pages)
    for row in touched:
        age = row["age_intervals"]
        assert (row["pages"], row["pages_written"]) == (pages[age], dirty.get(age, 0))
        assert row["idle_s"] == pytest.approx(age * step)
        assert row["bytes"] == row["pages"] * PAGE
    assert (never["age_intervals"], never["idle_s"]) == (None, None)
    assert sum(row["pages"] for row in found) == trace.ram_pages


def test_rounds_of_a_migration_find_the_distinct_pages_written_meanwhile(
    frames: Frames, writes: pl.DataFrame, trace: GuestTrace, bounds: list[int]
) -> None:
    span = (bounds[-1] - bounds[0]) / 1e9
    rounds = frames["migration_rounds"].filter(~pl.col("paused") & (pl.col("page_bytes") == PAGE))
    assert rounds.filter(pl.col("round") == 0)["sent_bytes"].unique().to_list() == [trace.ram_pages * PAGE]
    for row in rounds.iter_rows(named=True):
        begin = row["start_s"] / span * INTERVALS
        end = (row["start_s"] + row["duration_s"]) / span * INTERVALS
        overlapped = [number % INTERVALS for number in range(int(begin), int(np.ceil(end)))]
        pages = writes.filter(pl.col("interval").is_in(overlapped))["page"].n_unique()
        assert row["dirtied_bytes"] == pages * PAGE
        assert row["duration_s"] == pytest.approx(row["sent_bytes"] * 8 / row["gbit_per_second"] / 1e9)


def test_only_a_profile_that_logs_modifications_has_entries(frames: Frames) -> None:
    dirty = {name: frames["dirty"].filter(pl.col("profile") == name) for name in PROFILES}
    assert dirty["ept-ad"]["pml_entries"].null_count() == INTERVALS
    assert dirty["ept-emul"]["pml_exits"].null_count() == INTERVALS
    logged = dirty["skylake-sp"]
    assert logged["pml_entries"].to_list() == (logged["dirty_bits_4k"] + logged["dirty_bits_2m"]).to_list()
    assert logged["dirty_bits_4k"].to_list() == dirty["ept-ad"]["dirty_bits_4k"].to_list()
    assert logged["pml_entries"].sum() > 0
