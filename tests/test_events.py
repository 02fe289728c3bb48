"""Traces with events, vCPUs by activity and devices from guest.toml, end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.command_line import MEMORY, eptreplay, small_trace

from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.replay.rows.activity import transitions

READ, WRITE = 0, 1
RUN, STOP, HOLD, RELEASE, HOST_WRITE, DMA_WRITE = 16, 17, 24, 25, 27, 29
MAP, UNMAP, PROTECT, WIRE, ADVISE, SCAN, HARVEST = 32, 33, 34, 35, 37, 40, 41
TRACES = Path(__file__).parents[1] / "traces"


def table(run: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(run / "tables" / f"{name}.parquet")


def trace_of(path: Path, rows: list[tuple[int, int, int, int]]) -> Path:
    """Write a trace of rows (op, page, vCPU, argument), 10 ns apart."""
    op, page, vcpu, arg = (np.array(column) for column in zip(*rows, strict=True))
    return small_trace(
        path,
        rows=len(rows),
        op=op.astype(np.uint8),
        gpa=page.astype(np.uint64) * np.uint64(4096),
        vcpu=vcpu.astype(np.uint8),
        arg=arg.astype(np.uint64),
    )


def run_of(tmp_path: Path, rows: list[tuple[int, int, int, int]], *arguments: object) -> Path:
    trace = trace_of(tmp_path / "guest.parquet", rows)
    answer = eptreplay("replay", trace, "--out", tmp_path / "run", "-p", "ept-ad", *arguments)
    assert answer.code == 0, answer.err
    return tmp_path / "run"


def test_events_are_rows_but_no_accesses(tmp_path: Path) -> None:
    rows = [
        (RUN, 0, 0, 2),
        (WRITE, 0, 0, 0),
        (WRITE, 1, 0, 0),
        (HARVEST, 0, 0, 0),
        (SCAN, 0, 0, 0),
        (READ, 0, 0, 0),
    ]
    summary = table(run_of(tmp_path, rows), "summary")
    assert summary.select("rows", "reads", "writes", "unbacked").row(0) == (6, 1, 2, 0)
    assert summary["dirty_all_harvests"][0] == 2


def test_a_halted_vcpu_is_spared_the_interrupt_and_flushes_later(tmp_path: Path) -> None:
    rows = [
        (RUN, 0, 0, 0), (RUN, 0, 1, 1), (WRITE, 0, 0, 0), (WRITE, 1, 1, 0),
        (STOP, 0, 1, 0), (UNMAP, 0, 0, 0), (RUN, 0, 1, 1),
    ]  # fmt: skip
    ipis = table(run_of(tmp_path, rows), "ipis").filter(pl.col("cause") == "unmap")
    assert ipis.select("generations", "ipis", "forced_exits", "invepts", "ipis_saved").row(0) == (
        1,
        1,
        1,
        2,
        1,
    )


def test_what_makes_no_sense_ends_the_run_or_is_counted(tmp_path: Path) -> None:
    rows = [
        (WRITE, 0, 0, 0),
        (RELEASE, 0, 0, 0),
        (DMA_WRITE, 0, 0, 0),
        (HOLD, 0, 0, 1),
        (STOP, 0, 1, 0),
        (READ, 0, 0, 0),
    ]
    trace = trace_of(tmp_path / "guest.parquet", rows)
    answer = eptreplay("replay", trace, "--out", tmp_path / "bad")
    assert answer.code == 2
    assert "the event gpa_release of vCPU 0 at 0x0" in answer.err
    assert "row 1" in answer.err
    assert "--on-bad-rows skip" in answer.err
    answer = eptreplay("replay", trace, "--out", tmp_path / "run", "-p", "ept-ad", "--on-bad-rows", "skip")
    assert answer.code == 0, answer.err
    for reason in ("1 release_without_hold", "1 dma_without_device", "1 stop_without_run"):
        assert reason in answer.err
    wiring = table(tmp_path / "run", "wiring")
    assert wiring.select("holds", "releases", "held_at_end", "wired_pages", "reason").row(0) == (
        1,
        0,
        1,
        0,
        "",
    )


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ((HOLD, 0, 0, 0), "unknown_argument"),
        ((HOLD, 0, 0, 1 << 63), "unknown_argument"),
        ((PROTECT, 0, 0, 8), "unknown_argument"),
        ((ADVISE, 0, 0, 3), "unknown_argument"),
        ((UNMAP, 0, 0, 5), "unknown_argument"),
        ((UNMAP, 0, 0, MEMORY + 4096), "event_outside_memory"),
        ((WIRE, 1, 0, 1 << 63), "event_outside_memory"),
        ((HOLD, MEMORY // 4096, 0, 1), "event_outside_memory"),
        ((RUN, 0, 0, 256), "unknown_host_cpu"),
        ((RUN, 0, 7, 0), "vcpu"),
    ],
)
def test_an_event_that_makes_no_sense_is_left_out_and_counted_and_does_nothing(
    tmp_path: Path, event: tuple[int, int, int, int], reason: str
) -> None:
    trace = trace_of(tmp_path / "guest.parquet", [(WRITE, 0, 0, 0), event, (WRITE, 0, 0, 0)])
    answer = eptreplay("replay", trace, "--out", tmp_path / "run", "-p", "ept-ad", "--on-bad-rows", "skip")
    assert answer.code == 0, answer.err
    assert f"1 {reason}" in answer.err
    assert table(tmp_path / "run", "summary").select("writes", "unbacked", "vm_faults_w").row(0) == (2, 0, 1)


def test_a_guest_with_a_device_is_wired_and_its_dma_shows_nowhere(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_text(
        'passthrough = [{ name = "nic", bars = [{ gpa = 0xc0000000, bytes = 0x20000 }] }]\n'
    )
    # Wiring enters pages as written: the first harvest finds them all dirty.
    rows = [
        (READ, 0, 0, 0),
        (HARVEST, 0, 0, 0),
        (DMA_WRITE, 3, 0, 0),
        (DMA_WRITE, 3, 0, 0),
        (HARVEST, 0, 0, 0),
    ]
    run = run_of(tmp_path, rows, "--host-memory", "8M", "--check-conservation")
    device = table(run, "passthrough")
    assert device.select("device", "bar_bytes", "domain_pages", "dma_writes", "invisible_pages").row(0) == (
        "nic", 0x20000, MEMORY // 4096, 2, 1,
    )  # fmt: skip
    summary = table(run, "summary")
    assert summary.select("dirty_all_harvests", "dirty_last_harvest").row(0) == (MEMORY // 4096, 0)
    candidates = table(run, "swap_candidates")
    assert set(candidates["excluded"]) == {"wired"}
    assert candidates["bytes"].sum() == MEMORY
    assert table(run, "wiring").select("wired_pages", "reason").row(0) == (MEMORY // 4096, "passthrough")
    refused = eptreplay(
        "replay", tmp_path / "guest.parquet", "--out", tmp_path / "small", "--host-memory", "4M"
    )
    assert refused.code == 2
    assert "1,024 pages of wired guest memory" in refused.err


@pytest.mark.parametrize("guests", [1, 2])
def test_accesses_to_the_bars_of_a_device_are_counted_for_it_alone(tmp_path: Path, guests: int) -> None:
    (tmp_path / "guest.toml").write_text(
        """passthrough = [
          { name = "none" },
          { name = "nic", bars = [{ gpa = 0xc0000000, bytes = 0x2000 }, { gpa = 0x400000000000, bytes = 0x1000 }] },
          { name = "disk", bars = [{ gpa = 0xc0002000, bytes = 0x1000 }] },
        ]
        """
    )
    low, high = 0xC0000, 0x400000000
    rows = [
        (READ, low, 0, 0), (READ, low, 0, 0), (WRITE, low + 1, 0, 0), (WRITE, high, 0, 0), (READ, high, 1, 0),
        (READ, low + 2, 0, 0), (READ, low + 3, 0, 0), (WRITE, 5, 0, 0),
        (UNMAP, low, 0, 0), (READ, low, 0, 0), (MAP, low, 0, 0), (READ, low, 0, 0), (HARVEST, 0, 0, 0),
    ]  # fmt: skip
    traces = [trace_of(tmp_path / f"guest{number}.parquet", rows) for number in range(guests)]
    answer = eptreplay(
        "replay", *traces, "--out", tmp_path / "run", "-p", "ept-ad", "-p", "ept-emul", "-p", "x86",
        "--host-memory", "32M", "--check-conservation",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    counts = table(tmp_path / "run", "passthrough").select(
        "device", "bar_bytes", "bar_reads", "bar_writes", "bar_fetches", "bar_faults"
    )
    nic, disk = ("nic", 0x3000, 4, 2, 0, 4), ("disk", 0x1000, 1, 0, 0, 1)
    assert counts.rows() == [("none", 0, 0, 0, 0, 0), nic, disk] * 3 * guests
    summary = table(tmp_path / "run", "summary")
    # Two accesses have no BAR (any more), one is to memory, which is wired and so there.
    assert summary.select("rows", "reads", "writes", "unbacked", "traps").rows() == [
        (len(rows), 0, 1, 2, 5)
    ] * (3 * guests)
    assert table(tmp_path / "run", "faults").height == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            'passthrough = [{ name = "a", bars = [{ gpa = 0x1000, bytes = 0x1000 }] }]',
            "overlaps memory at 0x0",
        ),
        ('passthrough = [{ name = "a", bars = [{ gpa = 0x1000001, bytes = 0x1000 }] }]', "multiples of 4096"),
        (
            'passthrough = [{ name = "a", bars = [{ gpa = 0x7ffffffff000, bytes = 0x2000 }] }]',
            "bhyve's guests",
        ),
        (
            'passthrough = [{ name = "a", bars = [{ gpa = 0x10000000, bytes = 0x10000001000 }] }]',
            "at most 64 BARs and 1,099,511,627,776 bytes",
        ),
        ("passthrough = 3", "'passthrough' is 3"),
        ("pin = [1, 1]", "different host CPUs"),
        ('idle_gap = "soon"', "'idle_gap' is 'soon'"),
    ],
)
def test_a_guest_toml_that_makes_no_sense_is_refused(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "guest.toml").write_text(line + "\n")
    trace = small_trace(tmp_path / "guest.parquet")
    answer = eptreplay("replay", trace, "--out", tmp_path / "run")
    assert answer.code == 2
    assert told in answer.err


def test_activity_is_what_a_plain_query_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    rows = 4000
    time = np.cumsum(rng.choice([1, 2, 90], rows, p=[0.7, 0.27, 0.03])).astype(np.uint64)
    vcpu = rng.integers(0, 2, rows).astype(np.uint8)
    trace = open_trace(small_trace(tmp_path / "guest.parquet", rows=rows, time=time, vcpu=vcpu))
    found = transitions(trace, 80, "fail")
    frame = pl.DataFrame({"row": np.arange(rows), "time": time.astype(np.int64), "vcpu": vcpu})
    gaps = frame.with_columns(
        since=pl.col("time").diff().over("vcpu"), before=pl.col("row").shift(1).over("vcpu")
    ).filter(pl.col("since").is_null() | (pl.col("since") > 80))
    assert [(row, who) for row, who, runs, _ in found if runs] == list(gaps.select("row", "vcpu").iter_rows())
    halts = {(row + 1, who) for row, who in gaps.drop_nulls().select("before", "vcpu").iter_rows()}
    last = frame.group_by("vcpu").agg(pl.col("row").max())
    halts |= {(row + 1, who) for row, who in last.select("row", "vcpu").iter_rows()}
    assert {(row, who) for row, who, runs, _ in found if not runs} == halts


def test_activity_saves_interrupts_and_changes_nothing_else(tmp_path: Path) -> None:
    options = ("-p", "ept-ad", "-p", "ept-emul", "--scan-interval", "20ms", "--placement", "identity")
    traces = (TRACES / "boot-2vcpu.parquet", TRACES / "web-1vcpu.parquet")
    assert eptreplay("replay", *traces, "--out", tmp_path / "always", *options).code == 0
    answer = eptreplay("replay", *traces, "--out", tmp_path / "activity", *options, "--vcpus", "activity")
    assert answer.code == 0, answer.err
    always, activity = table(tmp_path / "always", "ipis"), table(tmp_path / "activity", "ipis")
    before = always.select(pl.col("ipis", "ipis_saved").sum()).row(0)
    after = activity.select(pl.col("ipis", "ipis_saved").sum()).row(0)
    assert before[1] == 0
    assert after[1] > 0
    assert after[0] + after[1] == before[0]
    assert (activity["invepts"] >= activity["ipis"]).all()
    same = table(tmp_path / "always", "summary").drop("ipis")
    assert table(tmp_path / "activity", "summary").drop("ipis").equals(same)
