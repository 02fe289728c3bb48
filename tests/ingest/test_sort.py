"""Rows sorted by time in bounded memory: in runs, stable, with nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.errors import OutputError
from eptreplay.ingest.packing import sort
from eptreplay.ingest.packing.sort import sorted_by_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def batches(times: list[int], rows: int) -> Iterator[dict[str, Any]]:
    time = np.array(times, np.uint64)
    for begin in range(0, len(time), rows):
        part = time[begin : begin + rows]
        yield {"time": part, "number": np.arange(begin, begin + len(part))}


def joined(found: Iterator[dict[str, Any]]) -> dict[str, list[int]]:
    parts = list(found)
    return {name: np.concatenate([part[name] for part in parts]).tolist() for name in ("time", "number")}


@pytest.fixture(scope="module", params=[(10, 8, 2), (7, 64, 3), (1000, 64, 64)])
def small(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs so small that a few rows make many of them, and that they are merged in several steps."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("RUN_ROWS", "MERGED_ROWS", "MOST_RUNS"), request.param, strict=True):
            patch.setattr(sort, name, value)
        yield


@pytest.mark.usefixtures("small")
@given(
    times=st.lists(st.integers(0, 6) | st.integers(0, 2**63 - 1), min_size=1, max_size=120),
    rows=st.integers(1, 9),
)
def test_the_order_is_that_of_a_stable_sort(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], rows: int
) -> None:
    folder = tmp_path_factory.mktemp("sort")
    found = joined(sorted_by_time(batches(times, rows), folder / "out"))
    order = sorted(range(len(times)), key=lambda number: times[number])
    assert found == {"time": [times[number] for number in order], "number": order}
    assert list(folder.iterdir()) == []


def test_memory_holds_a_run_and_not_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort, "RUN_ROWS", 1000)
    monkeypatch.setattr(sort, "MERGED_ROWS", 1000)
    monkeypatch.setattr(sort, "MOST_RUNS", 10)
    times = np.random.default_rng(1).permutation(20_000).tolist()
    pieces = list(sorted_by_time(batches(times, 100), tmp_path / "out"))
    assert max(len(piece["time"]) for piece in pieces) <= 1000
    assert np.concatenate([piece["time"] for piece in pieces]).tolist() == list(range(20_000))


def test_nothing_is_left_when_the_reader_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sort, "RUN_ROWS", 10)
    found = sorted_by_time(batches(list(range(100)), 5), tmp_path / "out")
    next(found)
    assert len(list(tmp_path.iterdir())) == 1
    found.close()
    assert list(tmp_path.iterdir()) == []


def test_a_place_without_room_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        list(sorted_by_time(batches([1], 1), tmp_path / "none" / "out"))
