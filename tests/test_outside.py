"""Accesses outside a guest's memory: counted as accesses and as rows, with the lowest and the highest address, and said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from tests.command_line import MEMORY, eptreplay, small_trace

from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.profiles import resolve
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.shares.replay import replay_in_shares
from eptreplay.report.answers.outside import outside, outside_of_guests, share_outside, warning
from eptreplay.request.options import Options
from eptreplay.results.tables import tables
from eptreplay.run.batch import run
from eptreplay.run.units import Replays

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("reads", "unbacked", "unbacked_rows", "unbacked_low", "unbacked_high")
TOP = (1 << 48) - 4096


def counted(folder: Path, *arguments: object) -> dict[str, tuple[Any, ...]]:
    """Replay all traces in a folder and return what was counted of every guest."""
    answer = eptreplay("replay", folder, "-p", "ept-ad", "--out", folder.parent / "run", *arguments)
    assert answer.code == 0, answer.err
    summary = pl.read_parquet(folder.parent / "run" / "tables" / "summary.parquet")
    return {row["guest"]: tuple(row[name] for name in NAMES) for row in summary.iter_rows(named=True)}


def trace(path: Path, gpa: list[int], count: list[int], size: list[int] | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    rows = len(gpa)
    more: dict[str, Any] = {} if size is None else {"size": np.array(size, np.uint16)}
    return small_trace(
        path,
        rows=rows,
        gpa=np.array(gpa, np.uint64),
        op=np.zeros(rows, np.uint8),
        count=np.array(count, np.uint32),
        **more,
    )


def test_a_row_that_stands_for_many_accesses_is_many(tmp_path: Path) -> None:
    trace(tmp_path / "t" / "g.parquet", [0, MEMORY + 24, 4096, MEMORY + 8, TOP + 1], [3, 420, 5, 7, 1])
    assert counted(tmp_path / "t") == {"g": (8, 428, 3, MEMORY + 8, TOP + 1)}


def test_both_parts_of_a_row_are_accesses_of_one_row(tmp_path: Path) -> None:
    gpa = [MEMORY - 4, MEMORY + 4092, 4092]
    trace(tmp_path / "t" / "g.parquet", gpa, [10, 20, 30], [8, 8, 8])
    # In and out: 10 reads and 1 access outside. Out and out: 20 and 1. In and in: 31 reads.
    assert counted(tmp_path / "t") == {"g": (41, 22, 2, MEMORY, MEMORY + 4096)}


@pytest.mark.parametrize("far", [MEMORY, 1 << 47, TOP])
def test_guests_of_one_host_have_addresses_of_their_own(tmp_path: Path, far: int) -> None:
    trace(tmp_path / "t" / "a.parquet", [0, far, far + 16], [1, 2, 3])
    trace(tmp_path / "t" / "b.parquet", [0, far + 32, 0], [1, 4, 1])
    assert counted(tmp_path / "t", "--host-memory", "32M") == {
        "a": (1, 5, 2, far, far + 16),
        "b": (2, 4, 1, far + 32, far + 32),
    }


def test_shares_count_as_one_thread_does(tmp_path: Path) -> None:
    """Rows cross from hole to hole over the border of two regions, from memory into a hole, and back."""
    block = 2 << 20
    chance = np.random.default_rng(3)
    borders = chance.integers(0, 12, 4000) * block + chance.choice([-4, 0, 4096, block // 2], 4000)
    trace(tmp_path / "t" / "g.parquet", np.maximum(borders, 0).tolist(), [2] * 4000, [8] * 4000)
    (found,) = find_traces([str(tmp_path / "t")])
    options, profiles = Options(intervals=3), [resolve("ept-ad")]
    whole = tables(replay_trace(found, profiles, options), ["ept-ad"], options.link)["summary"]
    assert whole["unbacked_rows"][0] > 100
    for shares in (2, 3):
        result = replay_in_shares(found, profiles, options, shares)
        assert tables(result, ["ept-ad"], options.link)["summary"] == whole


def test_without_such_rows_nothing_is_said(tmp_path: Path) -> None:
    trace(tmp_path / "t" / "g.parquet", [0, 4096], [1, 1])
    assert counted(tmp_path / "t") == {"g": (2, 0, 0, None, None)}
    assert outside({"unbacked_rows": 0}) == ""
    assert "outside" not in eptreplay("summary", tmp_path / "run").out


@pytest.fixture
def forgot(tmp_path: Path) -> Path:
    """A run of G01: 900 of 1,000 rows are outside memory."""
    pages = [*range(100), *range(1 << 20, (1 << 20) + 900)]
    trace(tmp_path / "t" / "forgot.parquet", [page * 4096 for page in pages], [1] * 1000)
    answer = eptreplay("replay", tmp_path / "t", "-p", "ept-ad", "--out", tmp_path / "run")
    assert SAID in answer.err
    return tmp_path / "run"


SAID = "900 of 1,000 rows lie outside its memory, between 0x100000000 and 0x100383000"


def test_the_end_of_a_replay_the_summary_and_both_pages_say_how_many_and_where(forgot: Path) -> None:
    assert SAID in " ".join(eptreplay("summary", forgot).out.split())
    (guest,) = (forgot / "guests").glob("*.html")
    for page in (forgot / "index.html", guest):
        assert SAID in page.read_text()


def test_above_1_percent_every_card_says_so(forgot: Path) -> None:
    (guest,) = (forgot / "guests").glob("*.html")
    assert guest.read_text().count(f"Mind: {SAID}; nothing here counts them.") == 5


def row(**changes: int) -> dict[str, Any]:
    usual: dict[str, Any] = {"guest": "g", "rows": 1000, "reads": 1000, "writes": 0, "fetches": 0}
    usual |= {"unbacked": 10, "unbacked_rows": 10, "unbacked_low": 4096, "unbacked_high": 8192}
    return usual | changes


def test_up_to_1_percent_no_card_says_so() -> None:
    assert warning(row(reads=990)) == ""
    assert warning(row(reads=989)) != ""
    assert warning(row(unbacked_rows=11, unbacked=11, reads=10**6)) != ""


def test_accesses_are_told_where_they_are_not_as_many_as_rows() -> None:
    assert outside(row()) == "10 of 1,000 rows lie outside its memory, between 0x1000 and 0x2000"
    assert outside(row(unbacked=420, unbacked_rows=1, unbacked_high=4096)) == (
        "1 of 1,000 rows (420 accesses) lies outside its memory, at 0x1000"
    )
    assert share_outside(row(unbacked=1000, unbacked_rows=1)) == 0.5


def test_of_many_guests_the_worst_are_named() -> None:
    guests = [row(unbacked_rows=number, unbacked=number) | {"guest": f"g{number}"} for number in range(6)]
    told = outside_of_guests(guests)
    assert [line.split(":")[0] for line in told[:-1]] == ["g5", "g4", "g3"]
    assert told[-1] == "2 more guests with 3 rows outside their memory."


def test_a_run_says_it_of_every_guest(tmp_path: Path) -> None:
    trace(tmp_path / "t" / "a.parquet", [0, MEMORY], [1, 1])
    trace(tmp_path / "t" / "b.parquet", [0, 0], [1, 1])
    run(
        Replays(find_traces([str(tmp_path / "t")]), [resolve("ept-ad")], Options(intervals=2)),
        tmp_path / "run",
    )
    index = (tmp_path / "run" / "index.html").read_text()
    assert "a: 1 of 2 rows lies outside its memory, at 0x400000." in index
    assert "Mind: of 1 guest more than 1 % lies outside the memory, most of a (50 %)" in index
