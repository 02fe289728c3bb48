"""A run as the pages see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.report.runs import MadeGuest, counters, write_run

from eptreplay.report.pages.guest import facts
from eptreplay.report.read.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.report.read.run import Guest

PROFILES = ("haswell", "nehalem")


def only_guest(folder: Path) -> Guest:
    (guest,) = open_run(folder).guests()
    return guest


def test_times_are_seconds_since_the_trace_began(tmp_path: Path) -> None:
    guest = only_guest(write_run(tmp_path / "run", [MadeGuest("g")]))
    assert guest.seconds == 8
    assert guest.interval_seconds == 1
    assert guest.bounds is not None
    assert guest.bounds.tolist() == list(range(9))
    assert guest.span.unit == "seconds since the trace began"
    assert guest.mib_second == (4096 / (1 << 20), "MiB/s")


def test_a_trace_without_times_is_told_in_intervals(tmp_path: Path) -> None:
    guest = only_guest(write_run(tmp_path / "run", [MadeGuest("g", seconds=None)]))
    assert guest.seconds is None
    assert guest.span.symbol == ""
    assert guest.span.end == 8
    assert guest.mib_second[1] == "MiB per interval"


def test_profiles_with_traces_of_several_lengths_have_no_common_time(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    made.tables["summary"][1]["last_time"] = made.tables["intervals"][-1]["end_time"] = 5_000_000_000
    guest = only_guest(write_run(tmp_path / "run", [made]))
    assert (guest.seconds_under("haswell"), guest.seconds_under("nehalem")) == (8, 5)
    assert guest.seconds is None
    assert guest.span.symbol == ""


def test_a_profile_with_fewer_intervals_ends_in_a_gap(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    made.tables["intervals"] = made.tables["intervals"][:-2]
    guest = only_guest(write_run(tmp_path / "run", [made]))
    assert guest.intervals == 8
    assert np.isnan(guest.interval_column("nehalem", "rows")).tolist() == [False] * 6 + [True] * 2


def test_intervals_of_a_host_outlast_the_trace_of_a_guest_that_shares_it(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    for row in made.tables["summary"]:
        row["last_time"] = 500_000_000
    guest = only_guest(write_run(tmp_path / "run", [made]))
    assert (guest.seconds, guest.interval_seconds, guest.seconds_under("haswell")) == (8, 1, 0.5)
    assert guest.bounds is not None
    assert guest.bounds.tolist() == list(range(9))
    assert facts(guest)[-2:] == ["500 ms of trace time", "8 s on the host's clock in 8 intervals"]


def test_more_intervals_than_a_chart_has_steps_share_them(tmp_path: Path) -> None:
    guest = only_guest(write_run(tmp_path / "run", [MadeGuest("g", intervals=1025)]))
    assert (guest.span.group, guest.span.steps) == (2, 513)
    assert guest.span.end == 8 * 1026 / 1025


def test_a_guest_has_a_table_only_if_it_says_something_of_it(tmp_path: Path) -> None:
    guest = only_guest(write_run(tmp_path / "run", [MadeGuest("g")]))
    assert guest.has("summary")
    assert not guest.has("heatmap")
    assert not guest.has("a table of the future")


@pytest.mark.parametrize(
    ("seconds", "symbol", "end"),
    [(8.0, "s", 8), (0.1, "s", 0.1), (0.05, "ms", 50), (2e-5, "us", 20), (1e-8, "ns", 10)],
)
def test_the_time_axis_has_the_unit_that_its_length_is_read_in(
    tmp_path: Path, seconds: float, symbol: str, end: float
) -> None:
    guest = only_guest(write_run(tmp_path / "run", [MadeGuest("g", seconds=seconds)]))
    assert guest.span.symbol == symbol
    assert guest.span.end == pytest.approx(end)


def test_marks_of_an_axis_of_intervals_are_whole(tmp_path: Path) -> None:
    guest = only_guest(write_run(tmp_path / "run", [MadeGuest("g", intervals=1, seconds=None)]))
    assert [tick.text for tick in guest.span.ticks()] == ["0", "1"]
