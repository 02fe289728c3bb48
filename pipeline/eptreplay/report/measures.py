"""What the comparison tables show of a guest under a profile: a measure a line, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.report.answers import Standing, exits
from eptreplay.report.numbers import change, percent, seconds
from eptreplay.report.tables import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Measure(NamedTuple):
    """A line of the comparison: its name, unit and meaning, and how it is read from a summary row."""

    name: str
    unit: str
    meaning: str
    of: Callable[[Mapping[str, Any]], float]


def _column(name: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda row: row[name]


_COUNTERS = {column.name: column for column in COUNTERS}


def _counter(title: str, name: str) -> Measure:
    column = _COUNTERS[name]
    return Measure(title, column.unit, f"{column.meaning} (column {name})", _column(name))


MEASURES = (
    Measure("exits", "exits", "accesses that left the guest, however they were settled", exits),
    Measure(
        "settled by A/D emulation",
        "exits",
        "exits that only set an emulated accessed or dirty bit (ad_emulated_r + ad_emulated_w)",
        lambda row: row["ad_emulated_r"] + row["ad_emulated_w"],
    ),
    Measure(
        "settled by vm_fault",
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
        lambda row: 100 * row["superpage_pages"] / row["pages_touched"] if row["pages_touched"] else 0.0,
    ),
    _counter("vm_page_dirty", "dirty_calls"),
)


def compare(summary: Mapping[str, Mapping[str, Any]], found: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return the lines of a guest's comparison: a cell a profile, with the change against the first."""
    bases = [standing.base for standing in found]
    lines = [_estimate(found)]
    for measure in MEASURES:
        values = [measure.of(summary[standing.profile]) for standing in found]
        lines.append(
            {
                "name": measure.name,
                "unit": measure.unit,
                "meaning": measure.meaning,
                "cells": cells(values, [_text(value) for value in values], bases),
            }
        )
    return lines


def told(lines: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the lines of a comparison that have something to tell, and those that are 0 under every profile."""
    flat = [line for line in lines if not any(cell["bar"] for cell in line["cells"])]
    return [line for line in lines if line not in flat], flat


def cells(values: Sequence[float], texts: Sequence[str], bases: Sequence[int]) -> list[dict[str, Any]]:
    """Return cells with a bar as long as the value's share of the highest, and the change against each one's base."""
    highest = max(values, default=0)
    return [
        {
            "text": text,
            "bar": round(100 * value / highest, 2) if highest else 0,
            "change": change(values[base], value),
        }
        for value, text, base in zip(values, texts, bases, strict=True)
    ]


def _estimate(found: Sequence[Standing]) -> dict[str, Any]:
    timed = all(standing.share is not None for standing in found)
    values = [(standing.share or 0.0) if timed else standing.seconds for standing in found]
    return {
        "name": "estimated cost",
        "unit": "of run time" if timed else "of CPU time",
        "meaning": "all terms of the section What it cost, over the trace's time for every vCPU",
        "cells": cells(
            values,
            [percent(value, 1) if timed else seconds(value) for value in values],
            [standing.base for standing in found],
        ),
    }


def _text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
