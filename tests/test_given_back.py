"""What a guest gave back can be neither reclaimed nor owed by a migration; what it uses again can."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.analysis.history import Repeated
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.model.statistics.intervals import PAGES_WRITTEN, REGIONS_WRITTEN
from eptreplay.profiles import resolve
from eptreplay.replay.one_guest import replay_trace
from eptreplay.request.options import Options
from eptreplay.results.findings.histories import history

if TYPE_CHECKING:
    from pathlib import Path

READ, WRITE, MAP, UNMAP, ADVISE = 0, 1, 32, 33, 37
DONTNEED, FREE = 4, 5
PAGE, MIB = 4096, 1 << 20
Row = tuple[int, int, int, int]
"""Time, operation, page, argument."""


def trace_of(path: Path, rows: list[Row], memory: int = 64 * MIB) -> Path:
    time, op, page, arg = (np.array(column, np.uint64) for column in zip(*rows, strict=True))
    return small_trace(
        path,
        rows=len(rows),
        memory=memory,
        time=time,
        op=op.astype(np.uint8),
        gpa=page * np.uint64(PAGE),
        arg=arg,
    )


def balloon(kind: int, bits: int = 0) -> list[Row]:
    """Return G07: 64 MiB are written, the upper half is given back, and the guest goes on in 100 pages."""
    pages = 64 * MIB // PAGE
    before = [(at * 1000, WRITE, at, 0) for at in range(pages)]
    after = [(pages * 1000 + at * 1_000_000, WRITE, at % 100, 0) for at in range(2000)]
    return [*before, (pages * 1000, kind, pages // 2, 32 * MIB + bits), *after]


def tables(tmp_path: Path, rows: list[Row], *arguments: object) -> dict[str, pl.DataFrame]:
    trace = trace_of(tmp_path / "guest.parquet", rows)
    answer = eptreplay(
        "replay", trace, "-p", "ept-ad", "--bandwidth", 1, "--out", tmp_path / "run", *arguments
    )
    assert answer.code == 0, answer.err
    return {path.stem: pl.read_parquet(path) for path in (tmp_path / "run" / "tables").glob("*.parquet")}


def sent(found: dict[str, pl.DataFrame], page_bytes: int) -> list[int]:
    rounds = found["migration_rounds"].filter(pl.col("page_bytes") == page_bytes)
    return rounds.sort("round")["sent_bytes"].to_list()


@pytest.mark.parametrize(
    ("kind", "bits", "column"), [(UNMAP, 0, "pages_unmapped"), (ADVISE, FREE, "pages_freed")]
)
def test_what_is_gone_is_neither_cold_nor_sent(tmp_path: Path, kind: int, bits: int, column: str) -> None:
    found = tables(tmp_path, balloon(kind, bits))
    assert found["summary"][column].to_list() == [8192]
    assert found["idle_age"]["pages"].sum() == 8192
    for size in (PAGE, 2 * MIB):
        assert sent(found, size) == [67_108_864, 33_554_432]
    assert found["migrations"]["lost_bytes"].to_list() == [0, 0]  # one half is owed, the other gone
    page = (tmp_path / "run" / "index.html").read_text()
    assert "32 MiB was" in page
    assert "63.61 MiB" not in page


def test_no_more_than_31_61_mib_can_be_reclaimed(tmp_path: Path) -> None:
    found = tables(tmp_path, balloon(UNMAP))
    cold = found["idle_age"].filter(pl.col("idle_s") >= 1)["pages"].sum()
    assert cold == 8192 - 100
    assert "31.61 MiB cold for 1 s" in (tmp_path / "run" / "index.html").read_text()


def test_advice_that_memory_is_not_needed_soon_gives_nothing_up(tmp_path: Path) -> None:
    found = tables(tmp_path, balloon(ADVISE, DONTNEED))
    assert found["idle_age"]["pages"].sum() == 16384
    assert sent(found, PAGE) == [67_108_864, 67_108_864, 409_600]


def test_what_is_gone_before_the_first_access_is_not_sent_in_round_0(tmp_path: Path) -> None:
    found = tables(tmp_path, balloon(UNMAP)[64 * MIB // PAGE :])
    assert sent(found, PAGE) == [33_554_432, 409_600]
    assert found["migrations"].filter(pl.col("page_bytes") == PAGE)["lost_bytes"].to_list() == [
        33_554_432 - 409_600
    ]
    assert found["idle_age"].filter(pl.col("age_intervals").is_null())["pages"].to_list() == [8192 - 100]


@pytest.mark.parametrize(("again", "written"), [(READ, 0), (WRITE, 1)])
def test_a_page_mapped_again_counts_from_its_new_use_on(tmp_path: Path, again: int, written: int) -> None:
    rows = [
        (0, WRITE, 0, 0), (1, WRITE, 1, 0), (2, WRITE, 2, 0),
        (3, UNMAP, 0, 2 * PAGE), (4, MAP, 0, 2 * PAGE), (5, again, 0, 0), (1000, READ, 3, 0),
    ]  # fmt: skip
    found = tables(tmp_path, rows, "--intervals", 2)
    summary = found["summary"].row(0, named=True)
    assert (summary["pages_touched"], summary["pages_unmapped"], summary["pages_freed"]) == (4, 0, 0)
    idle = {row["age_intervals"]: row for row in found["idle_age"].iter_rows(named=True)}
    # Pages 0 and 2 are idle since interval 0, page 3 is in use; page 1 holds nothing, like all that was never touched.
    assert (idle[1]["pages"], idle[1]["pages_written"]) == (2, 1 + written)
    assert (idle[0]["pages"], idle[0]["pages_written"]) == (1, 0)
    assert idle[None]["pages"] == 16384 - 3


def test_what_was_written_before_it_was_unmapped_is_no_dirt_after_it_was_mapped_again(tmp_path: Path) -> None:
    rows = [(0, WRITE, 0, 0), (1, WRITE, 1, 0), (2, UNMAP, 0, PAGE), (3, MAP, 0, PAGE), (4, 41, 0, 0)]
    dirty = tables(tmp_path, [*rows, (1000, READ, 1, 0)])["dirty"]
    assert (dirty["harvest_written"].sum(), dirty["harvest_pages"].sum()) == (1, 1)


def random_rows(seed: int, pages: int) -> list[Row]:
    """Return accesses to pages that are there, and pages being given back and mapped again."""
    chance = np.random.default_rng(seed)
    absent: set[int] = set()
    rows: list[Row] = [(0, READ, pages, 0)]
    for time in range(10, 10 + 10 * int(chance.integers(20, 60)), 10):
        page = int(chance.integers(0, pages)) * (1 if seed % 2 else 300)
        kind = int(chance.choice([READ, WRITE, WRITE, UNMAP, ADVISE, MAP]))
        if page in absent:
            kind = MAP
            absent.discard(page)
        elif kind == UNMAP:
            absent.add(page)
        elif kind == MAP:
            kind = WRITE
        rows.append((time, kind, page, {UNMAP: PAGE, MAP: PAGE, ADVISE: PAGE + FREE}.get(kind, 0)))
    return rows


def cycled(rows: list[Row], intervals: int, rounds: int) -> list[tuple[int, int, int]]:
    """Return interval, kind and page of writes and losses, round after round; every round begins with all memory."""
    first, last = rows[0][0], rows[-1][0]
    found = []
    for number in range(rounds):
        for time, kind, page, _ in rows:
            at = min(intervals - 1, (time - first) * intervals // (last - first))
            if kind in (WRITE, UNMAP, ADVISE):
                found.append((number * intervals + at, kind, page))
    return found


@pytest.mark.parametrize("seed", range(24))
def test_what_a_round_owes_is_what_was_written_in_it_and_is_not_gone(tmp_path: Path, seed: int) -> None:
    intervals = 6
    rows = random_rows(seed, 5)
    trace = open_trace(trace_of(tmp_path / "guest.parquet", rows))
    result = replay_trace(trace, [resolve("ept-ad")], Options(intervals=intervals))
    by_page = Repeated(history(result, PAGES_WRITTEN))
    by_region = Repeated(history(result, REGIONS_WRITTEN))
    events = cycled(rows, intervals, 3)
    for begin in range(intervals):
        for end in range(begin, 3 * intervals + 1):
            gone: set[int] = set()
            to_send: set[int] = set()
            regions: set[int] = set()
            for at, kind, page in events:
                if at >= end:
                    break
                if kind == WRITE:
                    gone.discard(page)
                    to_send |= {page} if at >= begin else set()
                    regions |= {page // 512} if at >= begin else set()
                else:
                    gone.add(page)
                    to_send.discard(page)
            assert by_page.to_send(begin, end, end) == len(to_send), (begin, end)
            if end <= intervals:
                expected = 512 * len(regions) - sum(page // 512 in regions for page in gone)
                assert by_region.to_send(begin, end, end) == expected, (begin, end)
