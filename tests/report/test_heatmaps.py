"""Heat maps: levels of colour, rows of addresses, and strokes that stand for exactly the counts."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.heatmaps import (
    LEVELS,
    LONGEST_GAP,
    HeatMap,
    Row,
    axis_rows,
    axis_ticks,
    log_levels,
)
from eptreplay.report.read.time_axis import Span

GIB = 1 << 30


def heatmap(counts: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> HeatMap:
    rows = [Row(at * 4096, (at + 1) * 4096) for at in range(counts.shape[1])]
    return HeatMap(
        Caption("id", "Title", "unit", "about", "a.csv"),
        counts,
        log_levels(int(counts.max(initial=1))),
        rows,
        Span(len(counts), 1.0, "s"),
    )


@given(st.integers(1, 10**12))
def test_levels_cover_every_count_up_to_the_highest(highest: int) -> None:
    levels = log_levels(highest)
    assert levels.floors[0] == 1
    assert len(levels.floors) <= LEVELS
    assert list(levels.floors) == sorted(set(levels.floors))
    assert levels.of(np.array([1, highest])).tolist() == [0, len(levels.floors) - 1]


def test_levels_are_logarithmic_and_say_what_they_are_worth() -> None:
    levels = log_levels(512)
    assert levels.floors == (1, 2, 4, 8, 16, 32, 64, 128, 256)
    assert levels.labels()[:3] == ["1", "2 to 3", "4 to 7"]
    assert levels.labels()[-1] == "256 to 512"


def test_rows_never_touched_are_left_out_where_they_are_many() -> None:
    touched = np.array([True] + [False] * (LONGEST_GAP + 1) + [True, False, True])
    rows, place = axis_rows(touched, 4096)
    assert [row.broken for row in rows] == [False, True, False, False, False]
    assert rows[1].begin == 4096
    assert rows[1].end == 4096 * (LONGEST_GAP + 2)
    assert place.tolist() == [0, *[-1] * (LONGEST_GAP + 1), 2, 3, 4]
    assert "never touched" in rows[1].label()
    assert "never touched" not in rows[3].label()


@given(hnp.arrays(np.bool_, st.integers(1, 300)))
def test_every_touched_stretch_has_a_row_of_its_own(
    touched: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> None:
    rows, place = axis_rows(touched, 4096)
    assert (place[touched] >= 0).all()
    kept = place[place >= 0]
    assert len(set(kept.tolist())) == len(kept)
    assert all(rows[at].begin == 4096 * stretch for stretch, at in enumerate(place.tolist()) if at >= 0)
    assert rows[0].begin == 0
    assert rows[-1].end == 4096 * len(touched)
    assert all(before.end == after.begin for before, after in itertools.pairwise(rows))


def test_ticks_of_an_unbroken_axis_are_round_gib() -> None:
    rows = [Row(at * GIB // 16, (at + 1) * GIB // 16) for at in range(64)]
    assert [tick.text for tick in axis_ticks(rows)] == ["0", "1", "2", "3", "4"]
    assert [tick.at for tick in axis_ticks(rows)] == [0, 25, 50, 75, 100]


@given(hnp.arrays(np.bool_, st.integers(1, 256)))
def test_ticks_of_any_axis_keep_their_distance(touched: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
    ticks = axis_ticks(axis_rows(touched, 4 << 20)[0])
    places = [tick.at for tick in ticks]
    assert all(0 <= at <= 100 for at in places)
    assert all(after - before >= 6.9 for before, after in itertools.pairwise(places))


counts_2d = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 2000)
)


@given(counts_2d)
def test_strokes_cover_the_cells_of_their_level_and_no_others(
    counts: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> None:
    drawn = heatmap(counts)
    found = np.full(counts.shape, -1)
    shades = [drawn.shade(level) for level in range(len(drawn.levels.floors))]
    for stroke in drawn.strokes():
        for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)", stroke.path):
            cells = found[int(x) : int(x) + int(length), drawn.height - 1 - int(y)]
            assert (cells == -1).all()
            cells[:] = shades.index(stroke.level)
    expected = np.where(counts > 0, drawn.levels.of(np.maximum(counts, 1)), -1)
    assert found.tolist() == expected.tolist()


@given(counts_2d)
def test_the_script_gets_every_count(counts: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> None:
    heat = heatmap(counts).data()["heat"]
    found = np.zeros(counts.size, np.int64)
    at = 0
    for distance, value in zip(heat["cells"][::2], heat["cells"][1::2], strict=True):
        at += distance
        found[at] = value
    assert found.reshape(counts.shape).tolist() == counts.tolist()
    assert len(heat["labels"]) == counts.shape[1]


@pytest.mark.parametrize("highest", [1, 2, 9, 10**6])
def test_the_highest_level_has_the_last_colour(highest: int) -> None:
    drawn = heatmap(np.array([[highest]]))
    assert drawn.shade(len(drawn.levels.floors) - 1) == LEVELS - 1


def test_a_map_of_zeros_is_empty() -> None:
    assert heatmap(np.zeros((3, 3), np.int64)).empty
    assert not heatmap(np.ones((3, 3), np.int64)).empty
