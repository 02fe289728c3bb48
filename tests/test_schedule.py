"""Where a replay stops between rows: by rows, by time, in order, each stop once."""

from __future__ import annotations

import tracemalloc
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.command_line import small_trace

from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.model.state.rows import rows_of
from eptreplay.replay.rows.batch import RowBatch
from eptreplay.replay.rows.schedule import (
    Action,
    EqualParts,
    EveryStep,
    Schedule,
    Scheduler,
    Stop,
    timed_row_groups,
)

if TYPE_CHECKING:
    from pathlib import Path

SWEEP, CLOSE = Action.SWEEP, Action.CLOSE_INTERVAL


def batch(times: list[int] | None, rows: int | None = None, time_min: int | None = None) -> RowBatch:
    """Return a batch of which only the times matter."""
    count = len(times or []) if rows is None else rows
    column = None if times is None else np.array(times, np.uint64)
    return RowBatch(count, rows_of(np.zeros(count, np.uint64), np.zeros(count, np.uint8)), column, time_min)


def test_a_cut_by_rows_comes_after_every_nth_row() -> None:
    scheduler = Scheduler([Schedule(SWEEP, rows=3)])
    assert list(scheduler.stops(batch(None, 7), 0)) == [Stop(3, SWEEP, None), Stop(6, SWEEP, None)]
    assert list(scheduler.stops(batch(None, 2), 7)) == [Stop(2, SWEEP, None)]
    assert list(scheduler.stops(batch(None, 1), 9)) == []


def test_a_cut_by_time_comes_before_the_first_row_of_that_time() -> None:
    scheduler = Scheduler([Schedule(CLOSE, times=EveryStep(3, 2, 7))])
    assert list(scheduler.stops(batch([1, 5, 5, 6, 9], time_min=1), 0)) == [
        Stop(1, CLOSE, 5),
        Stop(4, CLOSE, 7),
    ]


def test_stops_in_a_stretch_without_rows_are_all_made() -> None:
    scheduler = Scheduler([Schedule(SWEEP, times=EveryStep(1, 1, 4))])
    assert list(scheduler.stops(batch([1, 9], time_min=1), 0)) == [Stop(1, SWEEP, time) for time in (2, 3, 4)]


def test_what_falls_together_is_done_in_the_order_of_actions() -> None:
    scheduler = Scheduler(
        [Schedule(CLOSE, rows=2), Schedule(Action.CHECKPOINT, rows=2), Schedule(SWEEP, rows=2)]
    )
    actions = [stop.action for stop in scheduler.stops(batch(None, 2), 0)]
    assert actions == [SWEEP, Action.CHECKPOINT, CLOSE]


def test_a_cut_at_the_first_time_of_a_row_group_needs_no_times() -> None:
    scheduler = Scheduler([Schedule(CLOSE, times=EveryStep(0, 10, 10))])
    assert list(scheduler.stops(batch(None, 4, time_min=8), 0)) == []
    assert list(scheduler.stops(batch(None, 4, time_min=10), 4)) == [Stop(0, CLOSE, 10)]


distances = st.builds(EveryStep, begin=st.integers(0, 9), step=st.integers(1, 9), end=st.integers(9, 60))
parts = st.builds(EqualParts, begin=st.integers(0, 9), end=st.integers(40, 60), parts=st.integers(1, 30))


@given(
    times=st.lists(st.integers(0, 60), max_size=40).map(sorted),
    stops=distances | parts,
    step=st.integers(1, 9),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=10),
)
def test_batches_do_not_matter(
    times: list[int], stops: EveryStep | EqualParts, step: int, sizes: list[int]
) -> None:
    scheduler = Scheduler([Schedule(SWEEP, rows=step), Schedule(CLOSE, times=stops)])
    found: list[tuple[int, Action, int | None]] = []
    done = 0
    while done < len(times):
        piece = times[done : done + sizes[done % len(sizes)]]
        found += [
            (done + stop.rows, stop.action, stop.time)
            for stop in scheduler.stops(batch(piece, time_min=piece[0]), done)
        ]
        done += len(piece)
    by_rows = [(row, SWEEP, None) for row in range(step, len(times) + 1, step)]
    by_time = [
        (int(np.searchsorted(times, stop)), CLOSE, stop) for stop in stops if times and stop <= times[-1]
    ]
    assert sorted(found, key=str) == sorted([*by_rows, *by_time], key=str)
    assert [stop[0] for stop in found] == sorted(stop[0] for stop in found)


@given(times=distances | parts, after=st.integers(0, 70))
def test_the_first_time_after_another_is_found_without_going_through_all(
    times: EveryStep | EqualParts, after: int
) -> None:
    assert times.first_after(after) == next((time for time in times if time > after), None)


@given(times=distances)
def test_times_at_a_distance_are_counted(times: EveryStep) -> None:
    assert times.count() == len(list(times))


def test_more_stops_than_memory_could_hold_are_made_one_by_one() -> None:
    second, year = 10**9, 31_536_000 * 10**9
    scheduler = Scheduler(
        [Schedule(SWEEP, times=EveryStep(0, 1, year)), Schedule(CLOSE, times=EveryStep(0, second, year))]
    )
    tracemalloc.start()
    made = list(islice(scheduler.stops(batch([0, year // 2, year], time_min=0), 0), 100_000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [stop.time for stop in made] == list(range(1, 100_001))
    assert most < 50_000_000


def test_what_row_groups_need_their_times_is_known_without_a_list(tmp_path: Path) -> None:
    trace = open_trace(small_trace(tmp_path / "guest.parquet"))  # 3 row groups of 1,000 rows, 10 apart
    year = 31_536_000 * 10**9
    assert timed_row_groups(trace, [Schedule(SWEEP, times=EveryStep(0, 1, year))]) == {0, 1, 2}
    assert timed_row_groups(trace, [Schedule(SWEEP, times=EveryStep(0, 15_000, year))]) == {1}
    assert timed_row_groups(trace, [Schedule(SWEEP, times=EveryStep(0, year, year))]) == set()
    assert timed_row_groups(trace, [Schedule(CLOSE, times=EqualParts(0, 30_000, 2))]) == {1}
    assert timed_row_groups(trace, [Schedule(SWEEP, rows=10)]) == set()
