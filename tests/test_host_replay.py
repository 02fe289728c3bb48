"""Guests of one host from the command line: what falls and rises with its memory, and what is refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.command_line import eptreplay, small_trace

TRACES = Path(__file__).parents[1] / "traces"
PAGE = 4096


def table(run: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(run / "tables" / f"{name}.parquet")


def replay(out: Path, *arguments: object) -> Path:
    """Replay and return the run folder."""
    answer = eptreplay("replay", "--out", out, "--check-conservation", *arguments)
    assert answer.code == 0, answer.err
    return out


def test_two_guests_share_what_memory_there_is_and_swap_more_the_less_it_is(tmp_path: Path) -> None:
    guests = TRACES / "web-1vcpu.parquet", TRACES / "boot-2vcpu.parquet"
    pages = 1471 + 1107
    swapped = []
    for percent in (110, 50, 25):
        memory = 100 + pages * percent // 100
        run = replay(
            tmp_path / str(percent), *guests, "-p", "ept-ad", "-p", "ept-emul", "--intervals", 8,
            "--host-memory", memory * PAGE, "--scan-interval", "50ms",
        )  # fmt: skip
        activity = table(run, "swap_activity")
        swapped.append(activity.group_by("profile").agg(pl.col("swap_ins").sum()).sort("profile"))
        memories = table(run, "host_memory")
        parts = memories.group_by("profile", "interval").agg(
            pl.col("resident").sum(), pl.col("free", "wired", "active", "inactive", "host_pages").first()
        )
        assert (parts["host_pages"] == memory).all()
        assert (parts["free"] + parts["wired"] + parts["active"] + parts["inactive"] == memory).all()
        assert (parts["resident"] == parts["active"] + parts["inactive"]).all()
    for profile in range(2):
        few, more, most = (rows["swap_ins"][profile] for rows in swapped)
        assert few == 0
        assert few < more < most


def test_a_host_with_enough_memory_and_no_scans_changes_no_counter(tmp_path: Path) -> None:
    trace = TRACES / "full-2vcpu.parquet"
    alone = tmp_path / "alone"
    assert eptreplay("replay", trace, "--out", alone, "-p", "ept-ad", "-p", "ept-emul").code == 0
    for placement in ("identity", "reservation"):
        run = replay(tmp_path / placement, trace, "-p", "ept-ad", "-p", "ept-emul", "--placement", placement)
        before, after = table(alone, "summary"), table(run, "summary")
        if placement == "reservation":  # frames differ, and with them the checksum of entries
            before, after = before.drop("state_sum"), after.drop("state_sum")
        assert after.equals(before)
        assert table(run, "intervals").equals(table(alone, "intervals"))


def test_what_is_old_and_cold_is_counted_by_age(tmp_path: Path) -> None:
    run = replay(tmp_path / "run", TRACES / "boot-2vcpu.parquet", "-p", "x86", "--scan-interval", "20ms")
    cold = table(run, "cold_age").sort("age_scans")
    assert cold["age_scans"].to_list() == list(range(cold.height))
    assert cold["pages"].is_sorted(descending=True)
    assert cold["age_time"].is_sorted()
    resident = table(run, "host_memory")["resident"][-1]
    assert cold["pages"][0] == resident
    candidates = table(run, "swap_candidates")
    assert candidates["bytes"].sum() == resident * PAGE
    aged = candidates.filter(~pl.col("used") & (pl.col("age_scans") >= 3))
    assert aged["bytes"].sum() == cold["bytes"][3]
    written = candidates.filter("dirty")
    assert (written["cost_ns"] == written["writes"] * 100_000).all()


def test_causes_add_up_to_all_invalidations_and_ipis(tmp_path: Path) -> None:
    run = replay(
        tmp_path / "run", TRACES / "full-2vcpu.parquet", "-p", "ept-emul", "--host-memory", "60M",
        "--scan-interval", "1s",
    )  # fmt: skip
    summary = table(run, "summary")
    ipis, invalidations = table(run, "ipis"), table(run, "invalidations")
    assert {"aging", "page_daemon"} <= set(ipis["cause"])
    assert ipis["ipis"].sum() == summary["ipis"][0]
    assert ipis["generations"].sum() == summary["eptgen"][0]
    assert (
        invalidations["count"].sum()
        == summary.select(pl.sum_horizontal("inv_page", "inv_range", "inv_all")).item()
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host-memory", "200K"), "--host-memory is 50 pages (200 KiB)"),
        (("--host-memory", "1"), "--host-memory is 0 pages (1 B)"),
        (("--host-memory", "much"), "'much' is no amount of memory"),
        (("--host-memory", "1M", "--swap-read", "5"), "'5' is no time"),
        (("--scan-interval", "0"), "'0' is no distance"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    answer = eptreplay(
        "replay", small_trace(tmp_path / "guest.parquet"), "--out", tmp_path / "run", *arguments
    )
    assert answer.code == 2
    assert told in answer.err
    assert not (tmp_path / "run").exists()
