"""Charts as SVG that needs no script; a script adds zoom, toggles and exact values from the data beside it.

A chart is an HTML grid of three drawings: the value axis, the plot, the time axis. The plot's lines are in a
box of their own that is stretched to whatever width there is, so text keeps its size on every screen and
zooming changes one attribute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.report.numbers import finite
from eptreplay.report.scales import HEIGHT, Scale, Tick, from_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_STEPS = 1024
"""Steps of a time axis; a trace with more intervals is drawn with several to a step."""

STYLES = 8
"""Distinct line styles in report.css."""


class Series(NamedTuple):
    """A line: what it shows, its values a step, and the profile it belongs to (-1: true under all)."""

    name: str
    values: NDArray[np.float64]
    profile: int = -1
    style: int | None = None


class Span(NamedTuple):
    """The time axis of a page: steps of equal length from 0 to `end` in `unit`."""

    steps: int
    end: float
    unit: str
    group: int = 1
    """Intervals to a step."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready for its template.

    Args:
        id: unique on the page.
        title: what it shows.
        unit: of the value axis.
        about: definition of what is shown.
        csv: file with the numbers, relative to the page.
        lines: what is drawn.
        y: the value axis.
        x_ticks: marks of the other axis.
        x_unit: its unit.
        width: length of the other axis in drawing units.
        kind: `time` charts are linked with each other.
        x: JSON for the script: what is at each step of the axis.
    """

    id: str
    title: str
    unit: str
    about: str
    csv: str
    lines: list[dict[str, Any]]
    y: Scale
    x_ticks: list[Tick]
    x_unit: str
    width: int
    kind: str
    log: bool = False
    note: str = ""
    x: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether no line ever leaves 0."""
        return not any(value for line in self.lines for value in line["values"])

    def y_ticks(self) -> list[Tick]:
        """Return the marks of the value axis."""
        return self.y.ticks()

    def data(self) -> dict[str, Any]:
        """Return what the script needs to know: exact values by line."""
        return {
            "kind": self.kind,
            "unit": self.unit,
            "x": self.x,
            "series": [
                {
                    "name": line["name"],
                    "profile": line["profile"],
                    "style": line["style"],
                    "values": line["values"],
                }
                for line in self.lines
            ],
        }


def time_chart(
    ident: str,
    title: str,
    unit: str,
    about: str,
    csv: str,
    series: Sequence[Series],
    span: Span,
    *,
    log: bool = False,
    top: float | None = None,
    note: str = "",
) -> Chart:
    """Return a chart of values over trace time, a step an interval."""
    highest = top if top is not None else max((_highest(line.values) for line in series), default=0.0)
    scale = from_zero(highest, log=log)
    return Chart(
        ident,
        title,
        unit,
        about,
        csv,
        [_line(line, scale, steps=True) for line in series],
        scale,
        Scale(0, span.end or 1).ticks(5),
        span.unit,
        max(1, span.steps),
        "time",
        scale.log,
        note,
    )


def curve_chart(
    ident: str,
    title: str,
    unit: str,
    about: str,
    csv: str,
    series: Sequence[Series],
    labels: Sequence[str],
    x_unit: str,
    *,
    steps: bool = False,
    note: str = "",
) -> Chart:
    """Return a chart over labelled points at equal distances, such as powers of two."""
    scale = from_zero(max((_highest(line.values) for line in series), default=0.0))
    points = len(labels)
    width = max(1, points if steps else points - 1)
    every = max(1, -(-points // 8))
    offset = 0.5 if steps else 0.0
    ticks = [Tick(round(100 * (at + offset) / width, 3), labels[at]) for at in range(0, points, every)]
    return Chart(
        ident,
        title,
        unit,
        about,
        csv,
        [_line(line, scale, steps=steps) for line in series],
        scale,
        ticks,
        x_unit,
        width,
        "bars" if steps else "curve",
        note=note,
        x=list(labels),
    )


def group_sum(values: NDArray[Any], group: int) -> NDArray[np.float64]:
    """Return sums of `group` consecutive values: counts of several intervals."""
    return (
        np.add.reduceat(values.astype(np.float64), np.arange(0, len(values), group))
        if len(values)
        else values
    )


def group_last(values: NDArray[Any], group: int) -> NDArray[np.float64]:
    """Return the last of every `group` consecutive values: levels at the end of several intervals."""
    ends = np.minimum(np.arange(group - 1, len(values) + group - 1, group), len(values) - 1)
    return np.asarray(values[ends], np.float64)


def _highest(values: NDArray[np.float64]) -> float:
    """Return the highest value that is a number, else 0."""
    numbers = values[np.isfinite(values)]
    return float(numbers.max()) if len(numbers) else 0.0


def _line(series: Series, scale: Scale, *, steps: bool) -> dict[str, Any]:
    """Return a line for the template and the script."""
    style = series.style if series.style is not None else max(0, series.profile)
    return {
        "name": series.name,
        "profile": series.profile,
        "style": style % STYLES,
        "path": _path(scale.place(series.values), steps=steps),
        "values": [_exact(value) for value in series.values.tolist()],
    }


def _exact(value: float) -> float | int | None:
    """Return a value as short as JSON can hold it exactly enough to be read: six digits, whole ones whole."""
    number = finite(value)
    if number is None:
        return None
    return int(number) if number == int(number) else float(f"{number:.6g}")


def _path(places: NDArray[np.float64], *, steps: bool) -> str:
    """Return the SVG path of a line; a value that is no number leaves a gap."""
    parts: list[str] = []
    level: int | None = None
    for at, place in enumerate(places.tolist()):
        if place != place:  # noqa: PLR0124 - not a number
            level = None
            continue
        y = round(HEIGHT * (1 - min(1.0, max(0.0, place))))
        if level is None:
            parts.append(f"M{at} {y}")
        elif not steps:
            parts.append(f"L{at} {y}")
        elif y != level:
            parts.append(f"H{at}V{y}")
        level = y
        if steps and (at + 1 == len(places) or places[at + 1] != places[at + 1]):
            parts.append(f"H{at + 1}")
    return "".join(parts)
