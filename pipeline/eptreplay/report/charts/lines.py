"""Lines of charts: from series of values to SVG paths, with the exact values for the script."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.report.read.numbers import finite
from eptreplay.report.read.scales import HEIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.report.read.scales import Scale

COLOURS = 8
"""Colours of lines in report.css, and as many patterns of dashes."""

WIDTHS = 4
"""Distinct line widths in report.css."""

MOST_EXACT = 2.0**53
"""Whole numbers below which every one is a number that a float holds."""


class Series(NamedTuple):
    """What a line shows, one value per step, and the profile it belongs to (-1: true under all)."""

    name: str
    values: NDArray[np.float64]
    profile: int = -1
    style: int | None = None


class Line(NamedTuple):
    """A line as it is drawn: one for all series that are alike, so that none hides another.

    Args:
        names: of the series.
        profiles: theirs; -1 for what is true under all.
        style: number of its colour and dashes.
        width: class of its width; of profiles, what is drawn first is widest and shows below what crosses it.
        path: SVG path.
        values: exact ones, one per step; None where there is none.
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


def highest(series: Sequence[Series]) -> float:
    """Return the highest value that is a number, else 0."""
    tops = [float(np.max(line.values, initial=0.0, where=np.isfinite(line.values))) for line in series]
    return max(tops, default=0.0)


def are_counts(series: Sequence[Series]) -> bool:
    """Return whether all values are whole numbers."""
    return all(bool(np.all(np.isnan(of.values) | (of.values == np.round(of.values)))) for of in series)


def drawn_lines(
    series: Sequence[Series], scale: Scale, at: NDArray[np.float64], *, steps: bool = True
) -> list[Line]:
    """Return the lines that are drawn: one for all series of the same values."""
    groups = alike(series)
    return [
        Line(
            [one.name for one in group],
            [one.profile for one in group],
            style_of(group[0]),
            _width(group[0], len(groups) - 1 - number),
            _path(scale.place(group[0].values), at, steps=steps),
            short_values(group[0].values),
        )
        for number, group in enumerate(groups)
    ]


def alike(series: Sequence[Series]) -> list[list[Series]]:
    """Return the series in groups of the same values."""
    found: list[list[Series]] = []
    for one in series:
        same = (group for group in found if _same(group[0].values, one.values))
        group = next(same, None)
        if group is None:
            found.append([one])
        else:
            group.append(one)
    return found


def _same(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether two series have the same values, or none at the same places."""
    if one.shape != other.shape:
        return False
    return bool(np.all((one == other) | ((one != one) & (other != other))))  # noqa: PLR0124 - not a number


def style_of(series: Series) -> int:
    """Return the number of a line's colour and dashes: its own, else that of its profile."""
    return series.style if series.style is not None else max(0, series.profile)


def line_classes(style: int) -> str:
    """Return the classes of a line's colour and dashes: the 9th has the first colour again with other dashes."""
    colour = style % COLOURS
    return f"s{colour} d{(colour + style // COLOURS) % COLOURS}"


def _width(series: Series, above: int) -> int:
    return 0 if series.profile < 0 else min(above, WIDTHS - 1)


def short_values(values: NDArray[np.float64]) -> list[float | int | None]:
    """Return values for the script; None where there is none."""
    if np.all(np.abs(values) < MOST_EXACT) and np.array_equal(values, np.floor(values)):
        whole: list[float | int | None] = values.astype(np.int64).tolist()
        return whole
    return [_short_value(value) for value in values.tolist()]


def _short_value(value: float) -> float | int | None:
    """Return a value as short as JSON can hold it exactly enough to be read: six digits, whole ones whole."""
    number = finite(value)
    if number is None:
        return None
    return int(number) if number == int(number) else float(f"{number:.6g}")


def _path(places: NDArray[np.float64], at: NDArray[np.float64], *, steps: bool) -> str:
    """Return the SVG path of a line; a value that is no number leaves a gap."""
    across = _across(at.tobytes())
    known = places == places  # noqa: PLR0124 - a number
    if known.all():
        edges, shares = [0, len(places)][: 2 * len(places)], places
    else:
        edges = np.flatnonzero(np.diff(known, prepend=False, append=False)).tolist()
        shares = np.where(known, places, 0.0)
    levels = np.rint(HEIGHT * (1 - np.minimum(np.maximum(shares, 0.0), 1.0))).astype(np.int64)
    parts: list[str] = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):  # stretches without a gap
        of = levels[begin:end]
        parts.append(f"M{across[begin]} {of[0]}")
        if steps:
            turns = np.flatnonzero(of[1:] != of[:-1]) + 1
            parts += [
                f"H{across[begin + turn]}V{y}"
                for turn, y in zip(turns.tolist(), of[turns].tolist(), strict=True)
            ]
            parts.append(f"H{across[end]}")
        else:
            parts += [f"L{across[begin + turn]} {y}" for turn, y in enumerate(of[1:].tolist(), 1)]
    return "".join(parts)


@lru_cache(maxsize=16)
def _across(at: bytes) -> list[str]:
    """Return where steps or points are, float64 as bytes, as a path has it: most charts of a run share it."""
    return [f"{x:g}" for x in np.frombuffer(at, np.float64).tolist()]
