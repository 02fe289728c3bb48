"""Charts as SVG that needs no script; a script adds zoom, toggles and exact values from the data beside it.

A chart is an HTML grid of three drawings: the value axis, the plot, the time axis. The plot's lines are in a
box of their own that is stretched to whatever width there is, so text keeps its size on every screen and
zooming changes one attribute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.report.read.numbers import finite
from eptreplay.report.read.scales import HEIGHT, Scale, Tick, from_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.report.read.time_axis import Span


COLOURS = 8
"""Colours of lines in report.css, and as many patterns of dashes."""

WIDTHS = 4
"""Distinct line widths in report.css."""


class Series(NamedTuple):
    """A line: what it shows, its values a step, and the profile it belongs to (-1: true under all)."""

    name: str
    values: NDArray[np.float64]
    profile: int = -1
    style: int | None = None


class Line(NamedTuple):
    """A line as it is drawn: one for all series that are alike, so that none hides another.

    Args:
        names: of the series.
        profiles: theirs; -1 for what is true under all.
        style: number of its look.
        width: class of its width; of profiles, what is drawn first is widest and shows below what crosses it.
        path: SVG path.
        values: exact ones, a step each; None where there is none.
    """

    names: list[str]
    profiles: list[int]
    style: int
    width: int
    path: str
    values: list[float | int | None]

    def keys(self) -> str:
        """Return the profiles for an attribute that the script reads; empty if none can be hidden."""
        return " ".join(map(str, self.profiles)) if min(self.profiles) >= 0 else ""


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
        x: for the script: what is at each step of the axis, or each point of a curve.
        at: where each point of a curve is, in drawing units.
    """

    id: str
    title: str
    unit: str
    about: str
    csv: str
    lines: list[Line]
    y: Scale
    x_ticks: list[Tick]
    x_unit: str
    width: float
    kind: str
    log: bool = False
    note: str = ""
    x: list[str] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    height: int = HEIGHT

    @property
    def empty(self) -> bool:
        """Whether no line ever leaves 0."""
        return not any(value for line in self.lines for value in line.values)

    def y_ticks(self) -> list[Tick]:
        """Return the marks of the value axis."""
        return self.y.ticks()

    def data(self) -> dict[str, Any]:
        """Return what the script needs to know: exact values by line."""
        return {
            "kind": self.kind,
            "unit": self.unit,
            "x": self.x,
            "at": self.at,
            "series": [
                {"names": line.names, "profiles": line.profiles, "values": line.values} for line in self.lines
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
    highest = top if top is not None else _highest(series)
    scale = from_zero(highest, log=log, whole=_counts(series))
    at = np.arange(span.steps + 1, dtype=np.float64)
    return Chart(
        ident,
        title,
        unit,
        about,
        csv,
        _lines(series, scale, at),
        scale,
        span.ticks(),
        span.unit,
        max(1, span.steps),
        "time",
        scale.log,
        note,
    )


def bar_chart(
    ident: str,
    title: str,
    unit: str,
    about: str,
    csv: str,
    series: Sequence[Series],
    labels: Sequence[str],
    x_unit: str,
    *,
    log: bool = False,
    note: str = "",
) -> Chart:
    """Return a chart with a step of equal width for each of the labels, such as the bins of a histogram."""
    scale = from_zero(_highest(series), log=log, whole=_counts(series))
    steps = max(1, len(labels))
    every = max(1, -(-len(labels) // 8))
    return Chart(
        ident,
        title,
        unit,
        about,
        csv,
        _lines(series, scale, np.arange(len(labels) + 1, dtype=np.float64)),
        scale,
        [Tick(round(100 * (at + 0.5) / steps, 3), labels[at]) for at in range(0, len(labels), every)],
        x_unit,
        steps,
        "bars",
        scale.log,
        note,
        x=list(labels),
    )


CURVE_WIDTH = 1000.0


def curve_chart(
    ident: str,
    title: str,
    unit: str,
    about: str,
    csv: str,
    series: Sequence[Series],
    points: NDArray[np.float64],
    labels: Sequence[str],
    ticks: Sequence[Tick],
    x_unit: str,
    *,
    log: bool = False,
    note: str = "",
) -> Chart:
    """Return a chart of curves through points on an axis of its own.

    `points` says where the values of every series are, ascending, as shares of the axis; `labels` what each point
    is called.
    """
    scale = from_zero(_highest(series), log=log)
    at = np.round(CURVE_WIDTH * points, 1)
    return Chart(
        ident,
        title,
        unit,
        about,
        csv,
        _lines(series, scale, at, steps=False),
        scale,
        list(ticks),
        x_unit,
        CURVE_WIDTH,
        "curve",
        scale.log,
        note,
        x=list(labels),
        at=at.tolist(),
    )


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


def _highest(series: Sequence[Series]) -> float:
    """Return the highest value that is a number, else 0."""
    tops = [float(np.max(line.values, initial=0.0, where=np.isfinite(line.values))) for line in series]
    return max(tops, default=0.0)


def _counts(series: Sequence[Series]) -> bool:
    """Return whether all values are whole numbers."""
    return all(bool(np.all(np.isnan(of.values) | (of.values == np.round(of.values)))) for of in series)


def _lines(
    series: Sequence[Series], scale: Scale, at: NDArray[np.float64], *, steps: bool = True
) -> list[Line]:
    """Return the lines that are drawn: one for all series of the same values."""
    alike = _alike(series)
    return [
        Line(
            [one.name for one in group],
            [one.profile for one in group],
            _style(group[0]),
            _width(group[0], len(alike) - 1 - number),
            _path(scale.place(group[0].values), at, steps=steps),
            [_exact(value) for value in group[0].values.tolist()],
        )
        for number, group in enumerate(alike)
    ]


def _alike(series: Sequence[Series]) -> list[list[Series]]:
    """Return the series in groups of the same values."""
    found: list[list[Series]] = []
    for one in series:
        same = (group for group in found if np.array_equal(group[0].values, one.values, equal_nan=True))
        group = next(same, None)
        if group is None:
            found.append([one])
        else:
            group.append(one)
    return found


def _style(series: Series) -> int:
    return series.style if series.style is not None else max(0, series.profile)


def look(style: int) -> str:
    """Return the classes of a line's colour and dashes: the 9th has the first colour again with other dashes."""
    colour = style % COLOURS
    return f"s{colour} d{(colour + style // COLOURS) % COLOURS}"


def _width(series: Series, above: int) -> int:
    return 0 if series.profile < 0 else min(above, WIDTHS - 1)


def _exact(value: float) -> float | int | None:
    """Return a value as short as JSON can hold it exactly enough to be read: six digits, whole ones whole."""
    number = finite(value)
    if number is None:
        return None
    return int(number) if number == int(number) else float(f"{number:.6g}")


def _path(places: NDArray[np.float64], at: NDArray[np.float64], *, steps: bool) -> str:
    """Return the SVG path of a line; a value that is no number leaves a gap."""
    parts: list[str] = []
    level: int | None = None
    across = [f"{x:g}" for x in at.tolist()]
    for number, place in enumerate(places.tolist()):
        if place != place:  # noqa: PLR0124 - not a number
            level = None
            continue
        y = round(HEIGHT * (1 - min(1.0, max(0.0, place))))
        if level is None:
            parts.append(f"M{across[number]} {y}")
        elif not steps:
            parts.append(f"L{across[number]} {y}")
        elif y != level:
            parts.append(f"H{across[number]}V{y}")
        level = y
        last = number + 1 == len(places) or places[number + 1] != places[number + 1]
        if steps and last:
            parts.append(f"H{across[number + 1]}")
    return "".join(parts)


BAR_SHARE = 0.8
"""Share of a step that its bars take together."""


def range_chart(
    ident: str,
    title: str,
    unit: str,
    about: str,
    csv: str,
    series: Sequence[Series],
    labels: Sequence[str],
    x_unit: str,
) -> Chart:
    """Return a logarithmic chart with a bar a series at each of the labels, and a line from the least to the most it may be.

    The values of a series are those of the bars, then the low ends, then the high ends: three times as many as labels.
    """
    scale = from_zero(_highest(series), log=True)
    steps = max(1, len(labels))
    alike = _alike(series)
    return Chart(
        ident,
        title,
        unit,
        about,
        csv,
        [
            Line(
                [one.name for one in group],
                [one.profile for one in group],
                _style(group[0]),
                0,
                _bars(scale.place(group[0].values).reshape(3, -1), number, len(alike)),
                [_exact(value) for value in group[0].values[: len(labels)].tolist()],
            )
            for number, group in enumerate(alike)
        ],
        scale,
        [Tick(round(100 * (at + 0.5) / steps, 3), label) for at, label in enumerate(labels)],
        x_unit,
        steps,
        "ranges",
        scale.log,
        x=list(labels),
    )


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
