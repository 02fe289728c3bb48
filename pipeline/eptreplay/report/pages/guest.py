"""What stands on the page of a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.report.answers import answers
from eptreplay.report.answers.measures import compare, split_zero_lines
from eptreplay.report.answers.outside import outside
from eptreplay.report.answers.standing import standings
from eptreplay.report.pages.index import Line, brief
from eptreplay.report.read.approximated import approximated
from eptreplay.report.read.numbers import count, memory, seconds
from eptreplay.report.read.verified import unverified
from eptreplay.report.sections import sections
from eptreplay.report.sections.parts import Context, Files
from eptreplay.tables.schema import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.costs.costs import Assumptions
    from eptreplay.report.read.run import Guest


def guest_page(guest: Guest, profiles: Sequence[dict[str, Any]], assumed: Assumptions) -> dict[str, Any]:
    """Return all that the template of a guest's page needs."""
    found = standings(guest, profiles, assumed)
    shown = sections(Context(guest, Files(guest), profiles, assumed))
    first = answers.answers(guest, found)
    compared, flat = split_zero_lines(compare(guest.summary, found))
    drawn = [chart for _, part in shown for chart in part.drawn()]
    return {
        "name": guest.name,
        "facts": facts(guest),
        "about": guest.about["about"],
        "bad_rows": guest.about["bad_rows"],
        "approximated": approximated(guest.about),
        "unverified": unverified([guest.about]),
        "outside": outside(guest.any_summary),
        "answers": first,
        "compare": compared,
        "flat": flat,
        "sections": shown,
        "timed": any(chart.kind == "time" for chart in drawn),
        "counters": _counters(guest),
        "data": {
            "charts": {chart.caption.id: chart.data() for chart in drawn},
            "span": {"steps": guest.span.steps, "end": guest.span.end, "symbol": guest.span.symbol},
        },
        "line": Line(brief(guest), found, first),
    }


def facts(guest: Guest) -> list[str]:
    """Return what the trace is, in a few words each."""
    row = guest.any_summary
    found = [
        count(row["vcpus"], "vCPU"),
        f"{memory(guest.about['memory_pages'])} of memory, {memory(row['pages_touched'])} touched",
        f"{count(row['reads'] + row['writes'] + row['fetches'], 'access', 'accesses')} in {count(row['rows'], 'row')}",
    ]
    if guest.seconds is not None:
        trace = guest.seconds_under(guest.profiles[0])
        shared = trace is not None and round(trace, 6) != round(guest.seconds, 6)
        found += [f"{seconds(trace)} of trace time"] if shared and trace is not None else []
        what = "on the host's clock" if shared else "of trace time"
        found.append(f"{seconds(guest.seconds)} {what} in {count(guest.intervals, 'interval')}")
    else:
        found.append(count(guest.intervals, "interval"))
    return found


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
