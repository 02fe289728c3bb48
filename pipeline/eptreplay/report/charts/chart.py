"""A chart as its template reads it: a caption, two axes and the lines between them.

Charts are SVG that needs no script; a script adds zoom, toggles and exact values from the data beside it. A chart is an
HTML grid of three drawings: the value axis, the plot, the other axis. The lines of the plot are in a box of their own
that is stretched to whatever width there is, so text keeps its size on every screen and zooming changes one attribute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eptreplay.report.read.scales import HEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.charts.lines import Line
    from eptreplay.report.read.scales import Scale, Tick


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands around a chart or a heat map.

    Args:
        id: unique on the page.
        title: what it shows.
        unit: of the values.
        about: definition of what is shown.
        csv: link that holds the numbers; charts over time fill it in.
        note: a remark below it.
    """

    id: str
    title: str
    unit: str
    about: str
    csv: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """The horizontal axis of a chart.

    Args:
        unit: of the axis.
        ticks: its marks.
        width: its length in drawing units.
        labels: for the script: what each step of the axis, or each point of a curve, is called.
        at: where each point of a curve is, in drawing units.
    """

    unit: str
    ticks: Sequence[Tick]
    width: float
    labels: list[str] = field(default_factory=list)
    at: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready for its template.

    Args:
        caption: what stands around it.
        lines: what is drawn.
        y: the value axis.
        x: the other axis.
        kind: `time` charts are linked with each other.
    """

    caption: Caption
    lines: list[Line]
    y: Scale
    x: Axis
    kind: str
    height: int = HEIGHT

    @property
    def empty(self) -> bool:
        """Whether no line ever leaves 0."""
        return not any(any(line.values) for line in self.lines)

    @property
    def log(self) -> bool:
        """Whether the value axis is logarithmic."""
        return self.y.log

    def y_ticks(self) -> Sequence[Tick]:
        """Return the marks of the value axis."""
        return self.y.ticks()

    def data(self) -> dict[str, Any]:
        """Return what the script needs to know: exact values by line."""
        return {
            "kind": self.kind,
            "unit": self.caption.unit,
            "x": self.x.labels,
            "at": self.x.at,
            "series": [
                {"names": line.names, "profiles": line.profiles, "values": line.values} for line in self.lines
            ],
        }
