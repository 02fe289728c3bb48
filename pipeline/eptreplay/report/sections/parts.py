"""What a section of a guest's page is made of, and the tables behind it as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.report.charts.csvs import csv_text, frame_text, link, texts, texts_text
from eptreplay.report.charts.lines import Series
from eptreplay.report.charts.time_charts import group_sum, time_chart
from eptreplay.report.read.frames import without

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from eptreplay.report.charts.chart import Caption, Chart
    from eptreplay.report.charts.heatmaps import HeatMap
    from eptreplay.report.costs.costs import Assumptions
    from eptreplay.report.read.run import Guest

Join = Callable[["NDArray[Any]", int], "NDArray[np.float64]"]
"""How several intervals become one step of a chart: their sum, their mean, the last of them."""


class Files:
    """Makes the links that hold a guest's tables as CSV."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._intervals: tuple[list[str], list[list[str]]] | None = None

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
        """Return the link to a table."""
        return link(name, csv_text(header, rows))

    def frame(self, name: str, frame: pl.DataFrame) -> str:
        """Return the link to a frame as a table, but for the name of the guest."""
        return link(name, frame_text(without(frame, "guest")))

    def over_time(self, name: str, unit: str, series: Sequence[Series]) -> str:
        """Return the link to values by interval, one column per line of the chart."""
        names, cells = self._of_intervals()
        names = [*names, *(f"{line.name} [{unit}]" for line in series)]
        return link(name, texts_text(names, [*cells, *texts([line.values for line in series])]))

    def _of_intervals(self) -> tuple[list[str], list[list[str]]]:
        """Return the columns that every file over time begins with: names, and cells of each."""
        if self._intervals is None:
            bounds = self._guest.bounds
            columns = {"interval": np.arange(self._guest.intervals, dtype=np.float64)}
            if bounds is not None:
                columns |= {"start_s": bounds[:-1], "end_s": bounds[1:]}
            self._intervals = list(columns), texts(list(columns.values()))
        return self._intervals


class Cell(NamedTuple):
    """A cell of a table: its text, and its tone (`yes`, `no` or none)."""

    text: str
    tone: str = ""


class Head(NamedTuple):
    """The head of a column or row: its text, what it means, and the style of its line in the charts, if any."""

    text: str
    about: str = ""
    style: int | None = None
    word: bool = False
    """Whether the cells below are words, not numbers."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of a section, ready for its template: the first head is that of the row heads."""

    id: str
    title: str
    about: str
    csv: str
    heads: Sequence[Head]
    rows: Sequence[tuple[Head, Sequence[Cell]]]
    nothing: str = "Nothing."
    """What stands there when there is no row."""
    folded: bool = False
    """Whether the rows show only when they are asked for."""


@dataclass(frozen=True, slots=True)
class Part:
    """The content of a section."""

    charts: Sequence[Chart] = ()
    maps: Sequence[HeatMap] = ()
    grids: Sequence[Grid] = ()
    texts: Sequence[str] = ()
    columns: int = 2

    def drawn(self) -> list[Chart | HeatMap]:
        """Return what there is to draw."""
        return [chart for chart in self._all() if not chart.empty]

    def flat(self) -> list[Chart | HeatMap]:
        """Return the charts that would be empty, which a line names instead."""
        return [chart for chart in self._all() if chart.empty]

    def _all(self) -> list[Chart | HeatMap]:
        return [*self.maps, *self.charts]


@dataclass(frozen=True, slots=True)
class Context:
    """What a section is made from."""

    guest: Guest
    files: Files
    profiles: Sequence[dict[str, Any]]
    """As run.json describes them."""
    assumed: Assumptions


def always(_: Context) -> bool:
    """Return that a section has something to say."""
    return True


class Section(NamedTuple):
    """A section of the page: its heading, the tables it rests on, and what makes its content.

    A guest about which one of these tables says nothing has no such section.
    """

    id: str
    title: str
    needs: tuple[str, ...]
    build: Callable[[Context], Part]
    uses: tuple[str, ...] = ()
    """Tables that it shows too, where a run has them."""
    when: Callable[[Context], bool] = always
    """Whether it has something to say of a guest beyond that its tables are there."""


def over_time(
    context: Context,
    caption: Caption,
    series: Sequence[Series],
    *,
    join: Join = group_sum,
    log: bool = False,
    top: float | None = None,
) -> Chart:
    """Return a chart over trace time, with its CSV file written; a series has one value per interval."""
    link = context.files.over_time(caption.id, caption.unit, series)
    span = context.guest.span
    drawn = [line._replace(values=join(line.values, span.group)) for line in series]
    return time_chart(replace(caption, csv=link), drawn, span, log=log, top=top)


def summed(guest: Guest, names: Sequence[str]) -> list[Series]:
    """Return the sum of counters by interval, one line per profile."""
    return [
        Series(profile, np.sum([guest.interval_column(profile, name) for name in names], axis=0), number)
        for number, profile in enumerate(guest.profiles)
    ]


def interval_values(guest: Guest, frame: pl.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column of a table by interval: 0 in intervals without a row, NaN where it is null."""
    found = np.zeros(guest.intervals)
    found[frame["interval"].to_numpy()] = frame[name].to_numpy()  # which has NaN for null
    return found


def by_profile(guest: Guest, table: str, name: str, scale: float = 1) -> list[Series]:
    """Return a column of a table by interval, a line for every profile that the table knows something of."""
    parts = guest.by_profile(table)
    found = []
    for number, profile in enumerate(guest.profiles):
        if profile in parts:
            values = scale * interval_values(guest, parts[profile], name)
            if not np.isnan(values).all():
                found.append(Series(profile, values, number))
    return found


def profile_heads(guest: Guest, first: Head) -> list[Head]:
    """Return the heads of a table with one column per profile."""
    return [first, *(Head(name, style=number) for number, name in enumerate(guest.profiles))]
