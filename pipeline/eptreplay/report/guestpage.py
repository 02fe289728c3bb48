"""What stands on the page of a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.report import answers
from eptreplay.report.measures import compare
from eptreplay.report.numbers import count, memory, seconds
from eptreplay.report.sections import Files, exit_charts, superpage_charts
from eptreplay.report.tables import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eptreplay.report.charts import Chart
    from eptreplay.report.costs import Assumptions
    from eptreplay.report.run import Guest


class Group(NamedTuple):
    """A section of the page: its charts, with words before them and a template of its own, if any."""

    id: str
    title: str
    charts: Sequence[Chart]
    texts: Sequence[str] = ()
    partial: str = ""
    thirds: bool = False


def guest_page(
    folder: Path, guest: Guest, profiles: Sequence[Mapping[str, Any]], assumed: Assumptions
) -> dict[str, Any]:
    """Return all that the template of a guest's page needs, and write the CSV files it links to."""
    files = Files(folder, guest)
    found = answers.standings(guest, profiles, assumed)
    groups = [
        Group("faults", "Exits and IPIs", exit_charts(guest, files)),
        Group("superpages-all", "Superpages", superpage_charts(guest, files)),
    ]
    charts = [chart for group in groups for chart in group.charts]
    first = [
        answers.cost_answer(guest, found),
        answers.profile_answer(found),
        answers.reclaim_answer(guest, []),
    ]
    return {
        "name": guest.name,
        "facts": facts(guest),
        "about": guest.about["about"],
        "bad_rows": guest.about["bad_rows"],
        "answers": first,
        "compare": compare(guest.summary, found),
        "groups": groups,
        "faults": _faults(guest),
        "counters": _counters(guest),
        "data": {
            "charts": {chart.id: chart.data() for chart in charts if not chart.empty},
            "span": {"steps": guest.span.steps, "end": guest.span.end, "unit": guest.span.unit},
        },
        "line": {"guest": guest, "found": found, "answers": first},
    }


def facts(guest: Guest) -> list[str]:
    """Return what the trace is, in a few words each."""
    row = guest.any_summary
    found = [
        count(row["vcpus"], "vCPU"),
        f"{memory(guest.about['memory_pages'])} of memory, {memory(row['pages_touched'])} touched",
        f"{count(row['reads'] + row['writes'] + row['fetches'])} accesses in {count(row['rows'], 'row')}",
    ]
    if guest.seconds is not None:
        found.append(f"{seconds(guest.seconds)} of trace time in {count(guest.intervals, 'interval')}")
    else:
        found.append(count(guest.intervals, "interval"))
    return found


def _faults(guest: Guest) -> list[dict[str, Any]]:
    """Return a row a kind and cause: how often under every profile."""
    counts: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in guest.frames["faults"].iter_rows(named=True):
        counts.setdefault((row["kind"], row["cause"], row["resolution"]), {})[row["profile"]] = row["count"]
    return [
        {
            "kind": kind,
            "cause": cause,
            "resolution": resolution,
            "cells": [f"{found.get(name, 0):,}" for name in guest.profiles],
        }
        for (kind, cause, resolution), found in sorted(counts.items())
    ]


def _counters(guest: Guest) -> list[dict[str, Any]]:
    """Return every counter under every profile."""
    return [
        {
            "name": column.name,
            "unit": column.unit,
            "meaning": column.meaning,
            "cells": [f"{guest.summary[name][column.name]:,}" for name in guest.profiles],
        }
        for column in COUNTERS
    ]
