"""What the comparison tables show of a guest under a profile: one measure per line, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.report.answers.differences import changes
from eptreplay.report.answers.standing import Standing, exits
from eptreplay.report.read.numbers import change, percent, points, seconds
from eptreplay.tables.schema import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Measure(NamedTuple):
    """A line of the comparison: its name, unit and meaning, and how it is read from a summary row."""

    name: str
    unit: str
    meaning: str
    of: Callable[[Mapping[str, Any]], float]
    over: Callable[[Mapping[str, Any]], float] | None = None
    """What it is a share of; in a comparison that of the run it is measured by, for both."""


def _column(name: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda row: row[name]


_COUNTERS = {column.name: column for column in COUNTERS}


def _counter(title: str, name: str) -> Measure:
    column = _COUNTERS[name]
    return Measure(title, column.unit, f"{column.meaning} (column {name})", _column(name))


MEASURES = (
    Measure("exits", "exits", "VM exits: accesses that left the guest, however they were resolved", exits),
    Measure(
        "resolved by A/D emulation",
        "exits",
        "exits that only set an emulated accessed or dirty bit (ad_emulated_r + ad_emulated_w)",
        lambda row: row["ad_emulated_r"] + row["ad_emulated_w"],
    ),
    Measure(
        "resolved by vm_fault",
        "exits",
        "exits that mapped a page or gave it more rights (vm_faults_r + vm_faults_w + vm_faults_x)",
        lambda row: row["vm_faults_r"] + row["vm_faults_w"] + row["vm_faults_x"],
    ),
    Measure(
        "IPIs",
        "IPIs",
        "interprocessor interrupts to CPUs that run the guest (ipis + x86_ipis)",
        lambda row: row["ipis"] + row["x86_ipis"],
    ),
    Measure(
        "invalidations",
        "calls",
        "calls of pmap_invalidate_page, _range and _all",
        lambda row: row["inv_page"] + row["inv_range"] + row["inv_all"],
    ),
    _counter("promotions", "promotions"),
    _counter("demotions", "demotions"),
    _counter("failed promotions", "p_failures"),
    Measure(
        "in superpages at the end",
        "% of pages touched",
        "touched pages that a 2 MB mapping covers at the end (superpage_pages / pages_touched)",
        _column("superpage_pages"),
        _column("pages_touched"),
    ),
    _counter("vm_page_dirty", "dirty_calls"),
)


def compare(summary: Mapping[str, Mapping[str, Any]], found: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return the lines of a guest's comparison: one cell per profile, with the change against the first."""
    bases = [standing.base for standing in found]
    return [
        _estimate(found),
        *(
            {
                "name": measure.name,
                "unit": measure.unit,
                "meaning": measure.meaning,
                "cells": _cells(measure, summary, found, bases),
            }
            for measure in MEASURES
        ),
    ]


def _cells(
    measure: Measure,
    summary: Mapping[str, Mapping[str, Any]],
    found: Sequence[Standing],
    bases: Sequence[int],
) -> list[dict[str, Any]]:
    """Return the cells of a measure; the change of a share is in points."""
    values = [measure.of(summary[standing.profile]) for standing in found]
    if measure.over is None:
        return cells(values, [_text(value) for value in values], bases)
    wholes = [measure.over(summary[found[base].profile]) for base in bases]
    shares = [value / whole if whole else 0.0 for value, whole in zip(values, wholes, strict=True)]
    gained = [points(shares[base], share) for share, base in zip(shares, bases, strict=True)]
    return cells(shares, [_text(100 * share) for share in shares], bases, gained)


def split_zero_lines(lines: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the lines of a comparison that show something, and those that are 0 under every profile."""
    flat = [line for line in lines if not any(cell["bar"] for cell in line["cells"])]
    return [line for line in lines if line not in flat], flat


def cells(
    values: Sequence[float], texts: Sequence[str], bases: Sequence[int], gains: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return cells with a bar as long as the value's share of the highest, and the change against each one's base.

    Args:
        values: what bars show.
        texts: what the cells say.
        bases: for each the number of the cell that it is measured by.
        gains: the changes in words; None: in percent.
    """
    highest = max(values, default=0)
    gained = gains or [change(values[base], value) for value, base in zip(values, bases, strict=True)]
    return [
        {"text": text, "bar": round(100 * value / highest, 2) if highest else 0, "change": gain}
        for value, text, gain in zip(values, texts, gained, strict=True)
    ]


def cost_cells(found: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return the estimated cost under every profile: as a share of run time, or as CPU time where that is not known."""
    timed = all(standing.share is not None for standing in found)
    values = [(standing.share or 0.0) if timed else standing.seconds for standing in found]
    texts = [percent(value, 1) if timed else seconds(value) for value in values]
    return cells(values, texts, [standing.base for standing in found], changes(found))


def _estimate(found: Sequence[Standing]) -> dict[str, Any]:
    timed = all(standing.share is not None for standing in found)
    return {
        "name": "estimated cost",
        "unit": "of run time" if timed else "of CPU time",
        "meaning": "all terms of the section What it cost, over the trace's time for every vCPU",
        "cells": cost_cells(found),
    }


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
