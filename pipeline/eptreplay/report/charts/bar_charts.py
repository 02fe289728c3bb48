"""Charts of steps or bars of equal width, each with a label: histograms, and estimates with their ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.charts.chart import Axis, Chart
from eptreplay.report.charts.lines import (
    Line,
    alike,
    are_counts,
    drawn_lines,
    highest,
    short_values,
    style_of,
)
from eptreplay.report.read.scales import HEIGHT, Tick, from_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.report.charts.chart import Caption
    from eptreplay.report.charts.lines import Series

MOST_LABELS = 8
"""Labels of a histogram that are shown on its axis."""

BAR_SHARE = 0.8
"""Share of a step that its bars take together."""


def bar_chart(
    caption: Caption, series: Sequence[Series], labels: Sequence[str], unit: str, *, log: bool = False
) -> Chart:
    """Return a chart with a step of equal width for each of the labels, such as the bins of a histogram.

    Args:
        caption: what stands around the chart.
        series: lines with one value per label.
        labels: of the steps.
        unit: of the labels.
        log: whether the value axis may be logarithmic.
    """
    scale = from_zero(highest(series), log=log, whole=are_counts(series))
    edges = np.arange(len(labels) + 1, dtype=np.float64)
    axis = _axis(labels, unit, every=max(1, -(-len(labels) // MOST_LABELS)))
    return Chart(caption, drawn_lines(series, scale, edges), scale, axis, "bars")


def range_chart(caption: Caption, series: Sequence[Series], labels: Sequence[str], unit: str) -> Chart:
    """Return a logarithmic chart with one bar per series at each label, and a line over the range of each bar.

    The values of a series are those of the bars, then the low ends, then the high ends: three times as many as labels.
    """
    scale = from_zero(highest(series), log=True)
    groups = alike(series)
    lines = [
        Line(
            [one.name for one in group],
            [one.profile for one in group],
            style_of(group[0]),
            0,
            _bars(scale.place(group[0].values).reshape(3, -1), number, len(groups)),
            short_values(group[0].values[: len(labels)]),
        )
        for number, group in enumerate(groups)
    ]
    return Chart(caption, lines, scale, _axis(labels, unit), "ranges")


def _axis(labels: Sequence[str], unit: str, every: int = 1) -> Axis:
    """Return an axis with a mark in the middle of every so many steps."""
    steps = max(1, len(labels))
    ticks = [Tick(round(100 * (at + 0.5) / steps, 3), labels[at]) for at in range(0, len(labels), every)]
    return Axis(unit, ticks, steps, list(labels))


def _bars(places: NDArray[np.float64], number: int, count: int) -> str:
    """Return the SVG path of the bars of one series out of `count`; `places` has bars, low ends and high ends."""
    across = BAR_SHARE / count
    parts = []
    levels = np.round(HEIGHT * (1 - np.clip(places, 0, 1))).astype(int).T.tolist()
    for step, (top, low, high) in enumerate(levels):
        if top == HEIGHT:
            continue
        at = step + (1 - BAR_SHARE) / 2 + (number + np.array([0.05, 0.3, 0.5, 0.7, 0.95])) * across
        left, cap, middle, uncap, right = (f"{x:.4g}" for x in at.tolist())
        parts.append(f"M{left} {HEIGHT}V{top}H{right}V{HEIGHT}")
        parts.append(f"M{middle} {low}V{high}M{cap} {low}H{uncap}M{cap} {high}H{uncap}")
    return "".join(parts)
