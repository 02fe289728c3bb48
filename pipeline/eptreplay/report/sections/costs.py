"""What it cost: events times what each is assumed to cost, with the range of that, and all assumptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.answers.differences import NOT_APART
from eptreplay.report.charts.bar_charts import range_chart
from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.lines import Series
from eptreplay.report.costs.cost_terms import TERMS, TOTAL, cost_rows, difference, estimates
from eptreplay.report.costs.costs import EXIT, by_profile, described
from eptreplay.report.costs.times import doubt, why_untimed
from eptreplay.report.read.numbers import percent, seconds, short
from eptreplay.report.sections.parts import Cell, Grid, Head, Part, profile_heads
from eptreplay.report.sections.translations import guest_pages
from eptreplay.tables.costs import COSTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.charts.chart import Chart
    from eptreplay.report.costs.cost_terms import Estimate
    from eptreplay.report.costs.costs import Range
    from eptreplay.report.sections.parts import Context

RANGES = (
    "In parentheses stands the range that a figure may lie in: the least if all assumptions are at the low ends of theirs, "
    "the most if all are at the high ends. An assumption holds for all profiles at once, so their ranges rise and fall "
    "together; the line that compares profiles takes that into account."
)
NO_TLB = "TLBs were not modelled, so page walks are not in it; replay with --tlb."


def costs(context: Context) -> Part:
    """Return the terms of the estimate under every profile, and the assumptions behind it."""
    guest = context.guest
    found = estimates(guest, context.profiles, context.assumed)
    used = [term for term in TERMS if any(each.cycles(term).value for each in found)]
    columns = COSTS.names()[1:]
    link = context.files.table(
        "costs", columns, [[row[name] for name in columns] for row in cost_rows(guest.name, found)]
    )
    untimed = [text for text in (why_untimed(guest), doubt(guest, found)) if text]
    own = _own_exits(context)
    walks = guest_pages(guest) if guest.has("translations") else NO_TLB
    return Part(
        charts=[_chart(found, used, link)],
        grids=[_terms(context, found, used, link), _assumptions(context)],
        texts=[RANGES, *untimed, *own, walks],
        columns=1,
    )


def _own_exits(context: Context) -> list[str]:
    """Return what an exit costs on each CPU, where that is not the assumption below."""
    each = by_profile(context.profiles, context.assumed)
    if all(of.parameters[EXIT] is context.assumed.parameters[EXIT] for of in each):
        return []
    names = [profile["name"] for profile in context.profiles]
    figures = [f"{name} {of.parameters[EXIT].value:,.0f}" for name, of in zip(names, each, strict=True)]
    return [f"Every CPU here has a figure of its own for the cycles of an exit: {', '.join(figures)}."]


def _chart(found: Sequence[Estimate], used: Sequence[str], link: str) -> Chart:
    series = []
    for number, each in enumerate(found):
        ranges = [each.cycles(term) for term in (*used, TOTAL)]
        series.append(Series(each.profile, np.array(ranges, np.float64).T.reshape(-1), number))
    caption = Caption(
        "cost-chart",
        "Estimated cost",
        "cycles",
        "Cycles by what they were spent on. A bar is the estimate, the line through its top the range that the assumptions "
        "leave; bars stand in the order of the legend.",
        link,
    )
    return range_chart(caption, series, [*(TERMS[term].title for term in used), "total"], "spent on")


def _terms(context: Context, found: Sequence[Estimate], used: Sequence[str], link: str) -> Grid:
    """Return one row per term, then the total as cycles, as time, as share, and beside another profile's."""
    rows = [
        (
            Head(
                TERMS[term].title, f"{TERMS[term].meaning}. Each costs {' + '.join(TERMS[term].parameters)}"
            ),
            [Cell(each.cycles(term).as_text(_cycles)) for each in found],
        )
        for term in used
    ]
    bases = [found[profile.get("base", 0)] for profile in context.profiles]
    rows += [
        (
            Head("total", "cycles of all terms but writes to swap, which nobody waits for"),
            [Cell(each.cycles().as_text(_cycles)) for each in found],
        ),
        (
            Head("as time", "the total as time of one CPU"),
            [Cell(each.seconds().as_text(seconds)) for each in found],
        ),
        (
            Head(
                "share of run time",
                "that time over the trace's time, once for every vCPU; in a comparison over the first run's, for both",
            ),
            [Cell(_share(each)) for each in found],
        ),
        (
            Head("compared", "time more or less than under the profile that this one is measured by"),
            [Cell(_compared(base, each)) for base, each in zip(bases, found, strict=True)],
        ),
    ]
    return Grid(
        "cost-terms",
        "Estimated cost by term",
        "In cycles, but for the last lines. What a term counts, and what each of its events costs, shows when you point at it.",
        link,
        profile_heads(context.guest, Head("spent on")),
        rows,
    )


def _cycles(value: float) -> str:
    return short(float(f"{value:.3g}"))


def _share(estimate: Estimate) -> str:
    share = estimate.share(estimate.seconds())
    return "-" if share is None else share.as_text(lambda value: percent(value, 1))


def _compared(base: Estimate, other: Estimate) -> str:
    """Return the difference to a base, with a sign before each number."""
    return "" if other is base else _difference_text(difference(base, other))


def _difference_text(found: Range) -> str:
    """Return a difference with its range; one whose range holds 0 is said to be none."""
    text = found.as_text(lambda value: f"{'+' * (value > 0)}{seconds(value)}")
    return f"{NOT_APART}: {text}" if found.low < 0 < found.high else text


def _assumptions(context: Context) -> Grid:
    """Return every parameter with its range, how well it is known, and where that was read."""
    header = ["parameter", "value", "low", "high", "unit", "status", "meaning", "grounds", "sources"]
    rows = described(context.assumed)
    link = context.files.table("assumptions", header, rows)
    heads = [Head("parameter"), Head("value"), Head("range"), Head("unit", word=True)]
    heads += [
        Head("status", "how well it is known", word=True),
        Head("grounds", "what sources say", word=True),
    ]
    return Grid(
        "assumed",
        "Assumptions",
        "None of these was measured here; eptreplay report RUN --assume NAME=VALUE or NAME=LOW..HIGH changes them.",
        link,
        heads,
        [
            (
                Head(str(name), str(meaning)),
                [
                    Cell(f"{value:,.10g}"),
                    Cell(f"{low:,.10g} to {high:,.10g}"),
                    Cell(unit),
                    Cell(status),
                    Cell(grounds),
                ],
            )
            for name, value, low, high, unit, status, meaning, grounds, _ in rows
        ],
        folded=True,
    )
