"""Swap candidates: what is predicted for the pages that the page daemon takes next is what it then does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.command_line import eptreplay
from tests.small_host import READ, WRITE, SmallHost

from eptreplay.model.pmap.invalidate import CAUSE_DEMOTION, CAUSE_PAGE_DAEMON
from eptreplay.model.vm.vm_limits import limits

TRACES = Path(__file__).parents[1] / "traces"
BLOCK = 512


@pytest.mark.parametrize(("profile", "ipis"), [("ept-ad", "ipis_by_cause"), ("x86", "x86_ipis_by_cause")])
def test_pages_cost_the_ipis_that_are_predicted(profile: str, ipis: str) -> None:
    frames = 70
    room = frames - limits(frames).vm_pageout_wakeup_thresh
    host = SmallHost(profile, frames=frames, guests=(64,), vcpus=2)
    host.access(READ, range(0, room, 2))
    host.access(WRITE, range(1, room, 2))
    for _ in range(10):
        host.scan()
    before = host.pages()
    assert not before["used"].any()
    predicted = before["mapped"] + before["mapped"] * before["dirty"] * before["writeable"]
    assert set(predicted[:room]) == {1, 2}  # unmapped; and write-protected before
    for page in range(room, 64):
        if host.count("laundered") == 0:
            host.access(READ, [page])
    after = host.pages()
    gone = (before["resident"] == 1) & (after["resident"] == 0)
    assert gone.sum() == room
    # The daemon also cleared the accessed bits of some pages that it kept.
    aged = ((after["resident"] == 1) & (after["used"] == 0))[room:].sum()
    assert host.by_cause(ipis, CAUSE_PAGE_DAEMON) == 2 * (predicted[gone].sum() + aged)  # two vCPUs
    assert host.count("laundered") == before["dirty"].sum()


def test_an_unused_superpage_is_unmapped_whole_as_its_first_page_is_taken() -> None:
    frames = 3 * BLOCK
    host = SmallHost("ept-ad", frames=frames, guests=(4 * BLOCK,), identity=False)
    host.access(READ, range(BLOCK))
    assert host.pages()["superpage"][:BLOCK].all()
    while host.pages()["queue"][0] != 1:
        host.scan()
    assert host.count("demotions") == 0
    room = frames - BLOCK - limits(frames).vm_pageout_wakeup_thresh
    host.access(WRITE, range(BLOCK, BLOCK + room))
    assert host.count("freed_clean") == 0
    host.access(WRITE, [BLOCK + room])
    assert 1 < host.count("freed_clean") < BLOCK
    assert not host.pages()["mapped"][:BLOCK].any()
    assert host.count("demotions") == 0
    assert (
        host.by_cause("invalidations", CAUSE_DEMOTION) == host.by_cause("ipis_by_cause", CAUSE_DEMOTION) == 1
    )
    assert host.broken_law() == ""


def test_what_is_predicted_for_runs_adds_up(tmp_path: Path) -> None:
    answer = eptreplay(
        "replay", TRACES / "full-2vcpu.parquet", "--out", tmp_path / "run", "-p", "ept-ad", "-p", "ept-emul",
        "--host-memory", "70M", "--scan-interval", "200ms", "--swap-read", "1us", "--swap-write", "3us",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    tables = tmp_path / "run" / "tables"
    runs = pl.read_parquet(tables / "swap_candidates.parquet")
    assert (runs["cost_ns"] == runs["writes"] * 3_000).all()
    assert (runs["read_ns"] == runs["reads"] * 1_000).all()
    pages = runs["bytes"] // 4096
    assert (runs["reads"] <= pages).all()
    assert (runs["reads"] >= pl.select(pl.when(runs["dirty"]).then(pages).otherwise(0)).to_series()).all()
    assert (runs["ipis"] <= 2 * 2 * pages).all()
    assert not runs.filter(pl.col("demotions") > 0)["superpage"].not_().any()
    # A block that is a superpage counts once, whatever runs it is in.
    blocks = (
        runs.filter("superpage")
        .with_columns(
            block=pl.int_ranges("gpa", pl.col("gpa") + pl.col("bytes"), 1 << 21).list.eval(
                pl.element() // (1 << 21)
            )
        )
        .explode("block")
        .group_by("profile")
        .agg(pl.col("block").n_unique())
    )
    predicted = runs.group_by("profile").agg(pl.col("demotions").sum())
    both = blocks.join(predicted, on="profile")
    assert np.array_equal(both["block"], both["demotions"])
