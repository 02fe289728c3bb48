"""Heat maps as SVG: addresses upwards, time to the right, one colour per level of the count in a cell.

A map is a handful of paths, one per colour, so that style sheets choose the colours (for dark screens and for paper)
and no picture has to be embedded. A run of cells of one colour is one stroke.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.report.charts.chart import Axis
from eptreplay.report.read.numbers import GIB, short
from eptreplay.report.read.scales import Tick, nice_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.report.charts.chart import Caption
    from eptreplay.report.read.time_axis import Span

LEVELS = 9
"""Distinct colours in report.css."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The colours of a map: level n stands for counts from `floors[n]` to below the next."""

    floors: tuple[int, ...]
    highest: int

    def of(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the level of counts above 0."""
        return np.searchsorted(np.array(self.floors), counts, side="right") - 1

    def labels(self) -> list[str]:
        """Return what each level stands for."""
        tops = [floor - 1 for floor in self.floors[1:]] + [self.highest]
        return [
            short(low) if low == top else f"{short(low)} to {short(top)}"
            for low, top in zip(self.floors, tops, strict=True)
        ]


def log_levels(highest: int) -> Levels:
    """Return levels from 1 to the highest count, each as many times the last: colours are logarithmic."""
    count = min(LEVELS, max(1, highest))
    floors: list[int] = []
    for level in range(count):
        floor = round(highest ** (level / count))
        if not floors or floor > floors[-1]:
            floors.append(max(1, floor))
    return Levels(tuple(floors), highest)


class Row(NamedTuple):
    """A row of a map: addresses from `begin` to before `end`, bytes; a break stands for many that were never touched."""

    begin: int
    end: int
    broken: bool = False

    def label(self) -> str:
        """Return the addresses as a tip says them."""
        text = f"{self.begin / GIB:.6g} to {self.end / GIB:.6g} GiB"
        return f"{text}, never touched" if self.broken else text


LONGEST_GAP = 3
"""Rows never touched that are drawn; a longer stretch of them becomes one row, a break of the axis."""


def axis_rows(touched: NDArray[np.bool_], size: int) -> tuple[list[Row], NDArray[np.int64]]:
    """Return the rows of a map, and where each stretch of addresses is among them (-1: in a break).

    Args:
        touched: shape [stretches]: whether anything ever touched it; stretches follow each other from address 0.
        size: of a stretch, bytes.
    """
    rows: list[Row] = []
    place = np.full(len(touched), -1, np.int64)
    begins = [0, *(np.flatnonzero(np.diff(touched)) + 1).tolist(), len(touched)]
    for begin, end in itertools.pairwise(begins):
        if not touched[begin] and end - begin > LONGEST_GAP:
            rows.append(Row(begin * size, end * size, broken=True))
            continue
        place[begin:end] = np.arange(len(rows), len(rows) + end - begin)
        rows += [Row(at * size, (at + 1) * size) for at in range(begin, end)]
    return rows, place


def axis_ticks(rows: Sequence[Row]) -> list[Tick]:
    """Return marks for rows of addresses, in GiB: round ones in every unbroken stretch, or else where it begins."""
    height = len(rows)
    found: list[Tick] = []
    at = 0
    for broken, group in itertools.groupby(rows, lambda row: row.broken):
        block = list(group)
        begin, end = block[0].begin / GIB, block[-1].end / GIB
        if not broken:
            wanted = max(1, round(TICKS * len(block) / height))
            values = nice_values(begin, end, wanted) if len(block) > height / TICKS else []
            for value in values or [begin]:
                place = 100 * (at + len(block) * (value - begin) / (end - begin)) / height
                if not found or place - found[-1].at >= CLOSEST_TICKS:
                    found.append(Tick(round(place, 3), f"{value:.3g}"))
        at += len(block)
    return found


TICKS = 6
CLOSEST_TICKS = 7.0
"""Least distance between marks, percent of the axis."""


class Stroke(NamedTuple):
    """All cells of one colour: which, and the SVG path through them."""

    level: int
    path: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A heat map, ready for its template.

    Args:
        caption: what stands around it; the unit is that of a cell's count.
        counts: shape [columns, rows]: by time, then address.
        levels: what the colours stand for; shared by the maps of a page.
        rows: the addresses of every row.
        span: the time axis.
    """

    caption: Caption
    counts: NDArray[np.int64]
    levels: Levels
    rows: list[Row]
    span: Span
    kind: str = "time"
    log: bool = True

    @property
    def empty(self) -> bool:
        """Whether all counts are 0."""
        return not self.counts.any()

    @property
    def height(self) -> int:
        """Length of the address axis in drawing units."""
        return int(self.counts.shape[1])

    @property
    def x(self) -> Axis:
        """The time axis."""
        return Axis(self.span.unit, self.span.ticks(), int(self.counts.shape[0]))

    @property
    def y_unit(self) -> str:
        """Unit of the address axis."""
        return "guest-physical address, GiB"

    def y_ticks(self) -> list[Tick]:
        """Return the marks of the address axis, in GiB."""
        return axis_ticks(self.rows)

    def breaks(self) -> list[int]:
        """Return the rows at which the address axis is broken, counted from the top."""
        return [self.height - 1 - at for at, row in enumerate(self.rows) if row.broken]

    def shade(self, level: int) -> int:
        """Return the colour of a level: few levels are spread over all colours."""
        last = len(self.levels.floors) - 1
        return round(level * (LEVELS - 1) / last) if last else LEVELS - 1

    def strokes(self) -> list[Stroke]:
        """Return one path per colour: cells of one level beside each other in time are one stroke."""
        columns, rows = np.nonzero(self.counts)
        order = np.lexsort((columns, rows))
        columns, rows = columns[order], rows[order]
        level = self.levels.of(self.counts[columns, rows])
        begins = np.ones(len(level), bool)
        begins[1:] = (np.diff(columns) != 1) | (np.diff(rows) != 0) | (np.diff(level) != 0)
        starts = np.flatnonzero(begins)
        lengths = np.diff(np.append(starts, len(level)))
        strokes = zip(
            columns[starts].tolist(), (self.height - 1 - rows[starts]).tolist(), lengths.tolist(), strict=True
        )
        parts: dict[int, list[str]] = {}
        for at, (column, up, length) in zip(level[starts].tolist(), strokes, strict=True):
            parts.setdefault(at, []).append(f"M{column} {up}h{length}")
        return [Stroke(self.shade(at), "".join(path)) for at, path in sorted(parts.items())]

    def data(self) -> dict[str, Any]:
        """Return what the script needs to know: counts by cell, as distances between cells and values."""
        flat = np.flatnonzero(self.counts)
        pairs = np.stack([np.diff(flat, prepend=0), self.counts.reshape(-1)[flat]], axis=1)
        return {
            "kind": self.kind,
            "unit": self.caption.unit,
            "heat": {
                "columns": self.counts.shape[0],
                "rows": self.height,
                "labels": [row.label() for row in self.rows],
                "cells": pairs.reshape(-1).tolist(),
            },
        }
