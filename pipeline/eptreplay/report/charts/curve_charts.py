"""Charts of curves through points on an axis of their own, such as miss ratio by size of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.charts.chart import Axis, Chart
from eptreplay.report.charts.lines import drawn_lines, highest
from eptreplay.report.read.scales import from_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.report.charts.chart import Caption
    from eptreplay.report.charts.lines import Series
    from eptreplay.report.read.scales import Tick

CURVE_WIDTH = 1000.0


@dataclass(frozen=True, slots=True)
class Points:
    """Where the values of every series of a curve chart are on its axis.

    Args:
        at: ascending, as shares of the axis.
        labels: what each point is called.
        ticks: marks of the axis.
        unit: of the axis.
    """

    at: NDArray[np.float64]
    labels: Sequence[str]
    ticks: Sequence[Tick]
    unit: str


def curve_chart(caption: Caption, series: Sequence[Series], points: Points, *, log: bool = False) -> Chart:
    """Return a chart of curves; a series has one value per point."""
    scale = from_zero(highest(series), log=log)
    at = np.round(CURVE_WIDTH * points.at, 1)
    axis = Axis(points.unit, points.ticks, CURVE_WIDTH, list(points.labels), at.tolist())
    return Chart(caption, drawn_lines(series, scale, at, steps=False), scale, axis, "curve")
