"""The essentials of a run in a terminal: guests by profiles, the answers, and a heat map of characters."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eptreplay.errors import UsageError
from eptreplay.report.answers.answers import answers
from eptreplay.report.answers.outside import outside_of_guests
from eptreplay.report.answers.standing import standings
from eptreplay.report.charts.heatmaps import log_levels
from eptreplay.report.pages.index import Line, brief, fleet_answers, headline, superpages
from eptreplay.report.read.approximated import approximated_of
from eptreplay.report.read.numbers import GIB
from eptreplay.report.read.run import open_run
from eptreplay.report.read.verified import unverified
from eptreplay.report.sections.heat import counts_by_stretch
from eptreplay.safe_text import printable
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.report.answers.answers import Answer
    from eptreplay.report.costs.costs import Assumptions
    from eptreplay.report.read.run import Guest

CHARACTERS = ".:-=+*#%@"
"""From few to many; as many as a heat map has colours."""

MAP_ROWS = 16
MOST_GUESTS = 3
"""Guests shown in full unless others are asked for."""


def print_summary(
    folder: Path, names: Sequence[str], assumed: Assumptions, console: Console | None = None
) -> None:
    """Print the essentials of a run.

    Args:
        folder: of the run.
        names: guests to tell of in full; none: the costliest.
        assumed: parameters of the estimates.
        console: where to print; None: standard output.

    Raises:
        UsageError: the folder is no run, or has no such guest.
    """
    console = console or Console(highlight=False, soft_wrap=False)
    run = open_run(folder)
    lines = []
    for guest in run.guests():
        found = standings(guest, run.profiles, assumed)
        lines.append(Line(brief(guest), found, answers(guest, found)))
    lines.sort(key=Line.worst, reverse=True)
    unknown = set(names) - {line.guest.name for line in lines}
    if unknown:
        known = ", ".join(line.guest.name for line in lines[:10])
        raise UsageError(f"{folder}: no guest '{min(unknown)}'; the run has {known}")
    console.print(_shown(headline(run, lines)))
    for failure in run.about["failed"]:
        console.print(_shown(f"{failure['guest']} is not shown: {failure['error']}", "red"))
    for said in filter(None, (approximated_of(run.about["guests"]), unverified(run.about["guests"]))):
        console.print(_shown(said))
    for outside in outside_of_guests([line.guest.any_summary for line in lines]):
        console.print(_shown(outside, "red"))
    if len(lines) > 1:
        _print_answers(console, fleet_answers(lines))
    console.print()
    console.print(_matrix(lines))
    if note := superpages(run):
        console.print(_shown(note, "dim"))
    shown = [line for line in lines if line.guest.name in names] if names else lines[:MOST_GUESTS]
    guests = {guest.name: guest for guest in run.guests()}
    for line in shown:
        _print_guest(console, line, guests[line.guest.name])
    if len(shown) < len(lines) and not names:
        rest = len(lines) - len(shown)
        console.print()
        console.print(_shown(f"{rest} more; --guest NAME tells of one of them.", "dim"))


def _shown(text: str, style: str = "", **layout: Any) -> Text:  # noqa: ANN401 - what rich takes
    """Return text as it goes to the terminal: all text goes through here, so that no name can control the terminal."""
    return Text(printable(text), style=style, **layout)


def _matrix(lines: Sequence[Line]) -> Table:
    """Return guests by profiles: cost, exits, IPIs."""
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for title in ("guest", "profile"):
        table.add_column(title, overflow="fold", header_style="bold")
    for title in ("cost", "exits", "IPIs"):
        table.add_column(title, justify="right", header_style="bold", no_wrap=True)
    for line in lines:
        for number, at in enumerate(line.found):
            table.add_row(
                _shown(line.guest.name if number == 0 else ""),
                _shown(at.profile),
                _shown(at.as_text()),
                _shown(f"{at.exits:,}"),
                _shown(f"{at.ipis:,}"),
            )
    return table


def _print_answers(console: Console, found: Sequence[Answer]) -> None:
    tones = {"good": "bold green", "bad": "bold red"}
    for item in found:
        text = Text.assemble(
            _shown(f"{item.question} ", "dim"),
            _shown(f"{item.figure}. ", tones.get(item.tone, "bold")),
            _shown(item.sentence),
        )
        console.print(text)


def _print_guest(console: Console, line: Line, guest: Guest) -> None:
    console.print()
    console.rule(_shown(guest.name, "bold"), align="left", characters="-")
    _print_answers(console, line.answers)
    if guest.has("heatmap"):
        for row in text_map(guest, console.width):
            console.print(_shown(row, no_wrap=True, overflow="crop"))


def text_map(guest: Guest, width: int) -> list[str]:
    """Return a heat map as lines of text at most `width` wide, and what its characters are worth.

    A character stands for some stretches of addresses and some intervals: the distinct pages touched there in
    one interval, in the one that has most.
    """
    size = int(guest.frame("heatmap")["bytes"][0])
    counts = counts_by_stretch(guest, "pages_touched")
    label = max(8, len(f"{counts.shape[1] * size / GIB:.4g}") + 5)
    across = -(-counts.shape[0] // max(8, width - label - 2))
    up = 1
    while np.count_nonzero(_coarser(counts, across, up).any(axis=0)) > MAP_ROWS:
        up *= 2
    cells = _coarser(counts, across, up)
    levels = log_levels(int(cells.max(initial=1)))
    shades = np.array(
        [" ", *(CHARACTERS[_shade(at, len(levels.floors))] for at in range(len(levels.floors)))]
    )
    drawn = shades[np.where(cells > 0, levels.of(np.maximum(cells, 1)) + 1, 0)]
    lines = [f"{'GiB':>{label}} pages touched, by address (up) and time (right)"]
    for used, rows in itertools.groupby(
        reversed(range(drawn.shape[1])), lambda row: bool(cells[:, row].any())
    ):
        if used:
            lines += [
                f"{row * up * size / GIB:>{label}.4g} |{''.join(drawn[:, row])}".rstrip() for row in rows
            ]
        else:
            lines.append(f"{'':>{label}} ~ never touched")
    end, unit = guest.span.end, guest.span.symbol or "intervals"
    lines.append(f"{'':>{label}} +{'-' * drawn.shape[0]}")
    lines.append(f"{'':>{label}}  0 to {end:.4g} {unit}")
    step = end * across / guest.span.steps
    worth = f"A character: {binary_size(size * up)} of addresses, {step:.3g} {unit}. Distinct pages in an interval:"
    lines += textwrap.wrap(worth, width)
    keys = [f"{shades[at + 1]} {text}" for at, text in enumerate(levels.labels())]
    return [*lines, *_wrapped(keys, width)]


def _shade(level: int, levels: int) -> int:
    return round(level * (len(CHARACTERS) - 1) / (levels - 1)) if levels > 1 else len(CHARACTERS) - 1


def _coarser(counts: NDArray[np.int64], across: int, up: int) -> NDArray[np.int64]:
    """Return counts with `up` stretches added up, and of `across` intervals the highest."""
    columns, rows = counts.shape
    padded = np.pad(counts, ((0, -columns % across), (0, -rows % up)))
    sums = padded.reshape(padded.shape[0], -1, up).sum(axis=2)
    return np.asarray(sums.reshape(-1, across, sums.shape[1]).max(axis=1))


def _wrapped(parts: Sequence[str], width: int) -> list[str]:
    """Return parts in lines of at most `width`."""
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + 3 + len(part) > width:
            lines.append("")
        lines[-1] += f"   {part}" if lines[-1] else part
    return lines
