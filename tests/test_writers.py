"""Who wrote to a guest's memory, vCPUs or others, is what plain queries over its trace and events say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from tests.command_line import MEMORY, eptreplay, small_trace

if TYPE_CHECKING:
    from pathlib import Path

    Frames = dict[str, pl.DataFrame]

READ, WRITE, FETCH = 0, 1, 2
HOLD, RELEASE, HOST_READ, HOST_WRITE, DMA_READ, DMA_WRITE, HARVEST = 24, 25, 26, 27, 28, 29, 41
WRITES_OF_HYPERVISOR = (pl.col("op") == HOST_WRITE) | ((pl.col("op") == HOLD) & (pl.col("arg") & 2 > 0))
PAGES = MEMORY // 4096
ROWS = 6000
INTERVALS = 12
DEVICES = ("nic", "gpu")
HELD = 900
"""Pages from here on are only held and released, so that every release has its hold."""


def events() -> pl.DataFrame:
    """A random trace with holds, host accesses, DMA of two devices and a harvest here and there."""
    chance = np.random.default_rng(11)
    op = chance.choice(
        [READ, WRITE, FETCH, HOST_READ, HOST_WRITE, DMA_READ, DMA_WRITE],
        ROWS,
        p=[0.2, 0.3, 0.05, 0.05, 0.1, 0.1, 0.2],
    )
    op[chance.choice(ROWS, 8, replace=False)] = HARVEST
    page = chance.zipf(1.3, ROWS) % HELD
    arg = np.where((op == DMA_READ) | (op == DMA_WRITE), chance.integers(0, 2, ROWS), 0)
    for number in range(60):
        at = 50 + 90 * number
        op[at], op[at + 40] = HOLD, RELEASE
        page[at] = page[at + 40] = HELD + number
        arg[at], arg[at + 40] = chance.choice([1, 2, 3]), 0
    return pl.DataFrame(
        {
            "time": np.arange(ROWS) * 10,
            "vcpu": chance.integers(0, 2, ROWS),
            "page": page,
            "op": op,
            "arg": arg,
        }
    )


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """The trace, with the number of every row's interval."""
    plain = events()
    last = int(plain["time"][-1])
    bounds = [-(-last * number // INTERVALS) for number in range(1, INTERVALS)]
    return plain.with_row_index("row").with_columns(
        interval=pl.Series(np.searchsorted(bounds, plain["time"].to_numpy(), side="right"))
    )


def run_of(folder: Path, rows: pl.DataFrame, devices: tuple[str, ...], *options: str) -> Frames:
    passed = ", ".join(f'{{ name = "{name}" }}' for name in devices)
    (folder / "guest.toml").write_text(f"passthrough = [{passed}]\n")
    columns: dict[str, pl.Series] = {
        "time": rows["time"].cast(pl.UInt64),
        "vcpu": rows["vcpu"].cast(pl.UInt8),
        "gpa": rows["page"].cast(pl.UInt64) * 4096,
        "op": rows["op"].cast(pl.UInt8),
        "arg": rows["arg"].cast(pl.UInt64),
    }
    arrays: dict[str, Any] = {name: of.to_numpy() for name, of in columns.items()}
    trace = small_trace(folder / "guest.parquet", rows=len(rows), **arrays)
    answer = eptreplay(
        "replay",
        trace,
        "--out",
        folder / "run",
        "-p",
        "ept-ad",
        "-p",
        "ept-emul",
        "--intervals",
        INTERVALS,
        *options,
    )
    assert answer.code == 0, answer.err
    return {path.stem: pl.read_parquet(path) for path in (folder / "run" / "tables").glob("*.parquet")}


@pytest.fixture(scope="module")
def frames(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return run_of(tmp_path_factory.mktemp("writers"), rows, DEVICES, "--mrc", "exact")


@pytest.fixture(scope="module")
def writes(rows: pl.DataFrame) -> pl.DataFrame:
    """Every write, with its writer and whether dirty bits show it."""
    kind = (
        pl.when(pl.col("op") == WRITE).then(pl.format("vCPU {}", "vcpu"))
        .when(WRITES_OF_HYPERVISOR).then(pl.lit("hypervisor"))
        .when(pl.col("op") == DMA_WRITE).then(pl.col("arg").replace_strict({0: "nic", 1: "gpu"}, default=None, return_dtype=pl.String))
    )  # fmt: skip
    return rows.with_columns(who=kind, seen=pl.col("op") != DMA_WRITE).filter(pl.col("who").is_not_null())


def test_every_page_belongs_to_one_writer_and_to_a_device_only_if_nobody_else_wrote_it(
    frames: Frames, writes: pl.DataFrame
) -> None:
    owner = writes.sort(~pl.col("seen"), "row").group_by("interval", "page", maintain_order=True).first()
    expected = owner.group_by("interval", "who").agg(pages=pl.len()).sort("interval", "who")
    who = (
        pl.when(pl.col("writer") == "vcpu")
        .then(pl.format("vCPU {}", "vcpu"))
        .when(pl.col("writer") == "device")
        .then("device")
        .otherwise("writer")
    )
    found = frames["writers"].select("interval", who=who, pages="pages_written").sort("interval", "who")
    assert found.rows() == expected.rows()
    assert set(found["who"]) == {"vCPU 0", "vCPU 1", "hypervisor", *DEVICES}


def test_the_truth_is_what_anybody_wrote_and_part_of_it_no_dirty_bit_shows(
    frames: Frames, writes: pl.DataFrame
) -> None:
    by_page = writes.group_by("interval", "page").agg(pl.col("seen").any())
    expected = (
        by_page.group_by("interval").agg(pl.len(), (~pl.col("seen")).sum().alias("unseen")).sort("interval")
    )
    for _, part in frames["dirty"].group_by("profile"):
        assert part["pages_written"].to_list() == expected["len"].to_list()
        assert part["pages_invisible"].to_list() == expected["unseen"].to_list()
    assert expected["unseen"].sum() > 0


def test_rates_are_told_for_every_writer_and_for_all_together(frames: Frames) -> None:
    rates = frames["dirty_rate"]
    assert rates.select("writer", "vcpu", "device").rows() == [
        ("all", None, ""), ("vcpu", 0, ""), ("vcpu", 1, ""), ("hypervisor", None, ""),
        ("device", None, "nic"), ("device", None, "gpu"),
    ]  # fmt: skip
    parts = rates.filter(pl.col("writer") != "all")["mean_mib_per_second"].sum()
    assert rates["mean_mib_per_second"][0] == pytest.approx(parts)


def test_a_harvest_misses_what_only_devices_wrote(
    rows: pl.DataFrame, writes: pl.DataFrame, frames: Frames
) -> None:
    harvests = rows.filter(pl.col("op") == HARVEST)["row"].to_list()
    ends = pl.DataFrame({"row": harvests, "harvest": range(len(harvests))}).cast({"row": pl.UInt32})
    due = writes.sort("row").join_asof(ends, on="row", strategy="forward").drop_nulls("harvest")
    by_page = due.group_by("harvest", "page").agg(pl.col("seen").any())
    dirty = frames["dirty"].filter(pl.col("profile") == "ept-ad")
    assert dirty["harvest_written"].sum() == len(by_page)
    # The first harvest finds every page: wiring enters all of them as written.
    later = by_page.filter(pl.col("harvest") > 0, "seen")
    first = frames["summary"]["memory_bytes"][0] // 4096
    assert dirty["harvest_pages"].sum() == first + len(later)


def test_working_sets_and_memory_needed_know_all_accesses(rows: pl.DataFrame, frames: Frames) -> None:
    touches = rows.filter(~pl.col("op").is_in([RELEASE, HARVEST]))
    sizes = sorted(dict(touches.group_by("interval").agg(pl.col("page").n_unique()).iter_rows()).values())
    found = frames["working_set"].filter(kind="touched", window_intervals=1).row(0, named=True)
    assert (found["p0_bytes"], found["p100_bytes"]) == (4096 * sizes[0], 4096 * sizes[-1])
    curve = frames["miss_ratio"].filter(pl.col("method") == "exact")
    assert curve["accesses"].unique().to_list() == [len(touches)]
    latest: list[int] = []
    misses = dict.fromkeys((1, 8, 64), 0)
    for page in touches["page"].to_list():
        distance = latest.index(page) if page in latest else PAGES
        if distance < PAGES:
            latest.pop(distance)
        latest.insert(0, page)
        for size in misses:
            misses[size] += distance >= size
    for size, count in misses.items():
        (ratio,) = curve.filter(pl.col("memory_bytes") == 4096 * size)["miss_ratio"]
        assert ratio == pytest.approx(count / len(touches))
    bounds = (
        frames["miss_ratio"]
        .filter(pl.col("method") == "intervals")
        .join(curve, on="memory_bytes", suffix="_exact")
    )
    assert ((bounds["miss_ratio"] - bounds["miss_ratio_exact"]).abs() <= bounds["error"] + 1e-12).all()


def test_guests_of_a_host_have_writers_and_curves_of_their_own(
    rows: pl.DataFrame, frames: Frames, tmp_path: Path
) -> None:
    traces = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run_of(tmp_path / name, rows, DEVICES)
        traces.append((tmp_path / name / "guest.parquet").rename(tmp_path / f"{name}.parquet"))
    (tmp_path / "guest.toml").write_text((tmp_path / "a" / "guest.toml").read_text())
    answer = eptreplay(
        "replay", *traces, "--out", tmp_path / "run", "-p", "ept-ad", "-p", "ept-emul", "--intervals", INTERVALS,
        "--mrc", "exact", "--placement", "identity",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    for name in ("writers", "miss_ratio"):
        both = pl.read_parquet(tmp_path / "run" / "tables" / f"{name}.parquet")
        alone = frames[name].drop("guest").rows()
        assert both.filter(pl.col("guest") == "a").drop("guest").rows() == alone
        assert both.filter(pl.col("guest") == "b").drop("guest").rows() == alone


def test_dma_of_a_device_that_a_guest_does_not_have_makes_no_sense(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "op": np.array([WRITE, DMA_WRITE], np.uint8),
        "arg": np.array([0, 2], np.uint64),
    }
    trace = small_trace(tmp_path / "guest.parquet", rows=2, **columns)
    (tmp_path / "guest.toml").write_text('passthrough = [{ name = "nic" }, { name = "gpu" }]\n')
    answer = eptreplay("replay", trace, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "dma_write" in answer.err
    assert "unknown device" in answer.err


def test_an_aging_sweep_looks_again_at_a_cold_page_that_the_hypervisor_used(tmp_path: Path) -> None:
    touched = pl.DataFrame({"op": [WRITE, READ, READ, HOST_READ, READ, READ], "page": [1, 2, 2, 1, 2, 2]})
    frame = touched.with_columns(time=pl.int_range(pl.len()) * 10, vcpu=0, arg=0)
    answers = []
    for name, options in (("quick", ()), ("slow", ("--slow-path",))):
        (tmp_path / name).mkdir()
        found = run_of(tmp_path / name, frame, (), "--policy", "age", "--every", "2", *options)
        answers.append(found["summary"]["ts_referenced"].to_list())
    assert answers[0] == answers[1]
