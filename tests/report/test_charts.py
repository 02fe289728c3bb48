"""Charts: what is drawn, and the exact values beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eptreplay.report.charts.bar_charts import bar_chart, range_chart
from eptreplay.report.charts.chart import Caption, Chart
from eptreplay.report.charts.curve_charts import Points, curve_chart
from eptreplay.report.charts.lines import Series, line_classes
from eptreplay.report.charts.time_charts import group_last, group_mean, group_sum, time_chart
from eptreplay.report.read.scales import Tick
from eptreplay.report.read.time_axis import Span

NAN = float("nan")
CAPTION = Caption("id", "Title", "unit", "about", "a.csv")


def chart(*series: Series, log: bool = False) -> Chart:
    span = Span(len(series[0].values) if series else 0, 4.0, "seconds since the trace began", "s")
    return time_chart(CAPTION, series, span, log=log)


def line(name: str, values: list[float], profile: int = 0) -> Series:
    return Series(name, np.array(values, np.float64), profile)


def test_a_step_chart_holds_a_value_until_the_next() -> None:
    (drawn,) = chart(line("a", [0, 10, 10, 0])).lines
    top = round(1000 * (1 - 1 / 1.06))
    assert drawn.path == f"M0 1000H1V{top}H3V1000H4"


def test_a_value_that_is_none_leaves_a_gap() -> None:
    (drawn,) = chart(line("a", [10, NAN, 10, 10])).lines
    assert drawn.path.count("M") == 2
    assert drawn.path.endswith("H4")
    assert drawn.values == [10, None, 10, 10]


def test_lines_that_are_alike_are_drawn_once_under_all_their_names() -> None:
    found = chart(line("a", [1, 2]), line("b", [1, 3], 1), line("c", [1, 2], 2)).lines
    assert [(one.names, one.profiles, one.keys()) for one in found] == [
        (["a", "c"], [0, 2], "0 2"),
        (["b"], [1], "1"),
    ]


def test_lines_that_begin_with_gaps_can_be_alike() -> None:
    assert len(chart(line("a", [NAN, 2]), line("b", [NAN, 2], 1)).lines) == 1


def test_what_is_drawn_first_is_wider_so_that_it_shows_below() -> None:
    found = chart(line("a", [1, 2]), line("b", [1, 3], 1), line("c", [1, 4], 2)).lines
    assert [one.width for one in found] == [2, 1, 0]


def test_lines_of_no_profile_cannot_be_hidden() -> None:
    (drawn,) = chart(line("truth", [1, 2], -1)).lines
    assert drawn.keys() == ""


def test_a_chart_of_zeros_is_empty_and_one_of_nothing_too() -> None:
    assert chart(line("a", [0, 0])).empty
    assert chart(line("a", [NAN, 0])).empty
    assert chart().empty
    assert not chart(line("a", [0, 1])).empty


def test_the_script_gets_exact_values() -> None:
    data = chart(line("a", [0.1234567, 12345678.0])).data()
    assert data["series"] == [{"names": ["a"], "profiles": [0], "values": [0.123457, 12345678]}]


def test_bars_are_labelled_in_their_middle() -> None:
    found = bar_chart(CAPTION, [line("a", [1, 2], -1)], ["x", "y"], "kind")
    assert [(tick.at, tick.text) for tick in found.x.ticks] == [(25, "x"), (75, "y")]
    assert found.data()["x"] == ["x", "y"]


def test_curves_go_through_points_at_their_places() -> None:
    ticks = [Tick(50, "half")]
    points = Points(np.array([0.0, 0.25, 1]), ["a", "b", "c"], ticks, "MiB")
    found = curve_chart(CAPTION, [line("a", [1, 1, 0], -1)], points)
    assert found.x.ticks == ticks
    assert found.x.at == [0, 250, 1000]
    assert found.lines[0].path.startswith("M0 57L250 57L1000 1000")


@pytest.mark.parametrize(
    ("join", "expected"), [(group_sum, [3, 7, 5]), (group_mean, [1.5, 3.5, 5]), (group_last, [2, 4, 5])]
)
def test_several_intervals_to_a_step_add_up_average_or_keep_the_last(
    join: object, expected: list[float]
) -> None:
    assert callable(join)
    assert join(np.arange(1.0, 6), 2).tolist() == expected


def test_lines_of_many_profiles_are_drawn_differently() -> None:
    assert line_classes(0) == "s0 d0"
    assert line_classes(9) == "s1 d2"
    assert len({line_classes(style) for style in range(64)}) == 64


def ranges(*series: Series, labels: int = 1) -> Chart:
    names = [f"label {at}" for at in range(labels)]
    return range_chart(CAPTION, series, names, "x")


def test_a_bar_with_its_range_is_drawn_from_the_foot_and_crossed_by_a_line() -> None:
    (drawn,) = ranges(line("a", [99, 9, 999])).lines
    top, low, high = (
        round(1000 * (1 - math.log10(1 + at) / math.log10(1 + 999 * 1.6))) for at in (99, 9, 999)
    )
    assert drawn.path == f"M0.14 1000V{top}H0.86V1000M0.5 {low}V{high}M0.34 {low}H0.66M0.34 {high}H0.66"
    assert drawn.values == [99]


def test_bars_of_several_profiles_stand_side_by_side_and_nothing_has_no_bar() -> None:
    first, second = ranges(
        line("a", [10, 0, 5, 0, 20, 0]), line("b", [10, 7, 5, 6, 20, 8], 1), labels=2
    ).lines
    assert first.path.count("V1000") == 1
    assert second.path.count("V1000") == 2
    ends = [float(one.path[1:].split(" ")[0]) for one in (first, second)]
    assert ends[0] < 0.5 < ends[1]


def test_bars_that_are_alike_are_one_but_not_if_their_ranges_differ() -> None:
    alike = ranges(line("a", [10, 5, 20]), line("b", [10, 5, 20], 1)).lines
    assert [one.names for one in alike] == [["a", "b"]]
    assert len(ranges(line("a", [10, 5, 20]), line("b", [10, 4, 20], 1)).lines) == 2
