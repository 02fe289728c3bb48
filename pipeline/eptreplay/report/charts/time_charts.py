"""Charts over trace time: one step per interval, or per group of intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.report.charts.chart import Axis, Chart
from eptreplay.report.charts.lines import are_counts, drawn_lines, highest
from eptreplay.report.read.scales import from_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.report.charts.chart import Caption
    from eptreplay.report.charts.lines import Series
    from eptreplay.report.read.time_axis import Span


def time_chart(
    caption: Caption, series: Sequence[Series], span: Span, *, log: bool = False, top: float | None = None
) -> Chart:
    """Return a chart of values over trace time; a series has one value per step of the span."""
    scale = from_zero(top if top is not None else highest(series), log=log, whole=are_counts(series))
    edges = np.arange(span.steps + 1, dtype=np.float64)
    axis = Axis(span.unit, span.ticks(), max(1, span.steps))
    return Chart(caption, drawn_lines(series, scale, edges), scale, axis, "time")


def group_sum(values: NDArray[Any], group: int) -> NDArray[np.float64]:
    """Return sums of `group` consecutive values: counts of several intervals."""
    starts = np.arange(0, len(values), group)
    return np.add.reduceat(values.astype(np.float64), starts) if len(values) else values


def group_mean(values: NDArray[Any], group: int) -> NDArray[np.float64]:
    """Return means of `group` consecutive values: rates over several intervals."""
    sizes = group_sum(np.ones(len(values)), group)
    return np.asarray(group_sum(values, group) / sizes, np.float64)


def group_last(values: NDArray[Any], group: int) -> NDArray[np.float64]:
    """Return the last of every `group` consecutive values: levels at the end of several intervals."""
    ends = np.minimum(np.arange(group - 1, len(values) + group - 1, group), len(values) - 1)
    return np.asarray(values[ends], np.float64)
