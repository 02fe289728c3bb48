"""The host around the guest: IPIs by cause, memory shared with other guests, swapping, and what would go next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from eptreplay.report.answers.answers import silent
from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.curve_charts import Points, curve_chart
from eptreplay.report.charts.lines import Series
from eptreplay.report.charts.time_charts import group_last, group_sum
from eptreplay.report.read.numbers import GIB, MIB, in_seconds, seconds
from eptreplay.report.read.scales import Scale
from eptreplay.report.sections.devices import why
from eptreplay.report.sections.parts import Cell, Grid, Head, Part, by_profile, over_time, profile_heads
from eptreplay.tables.schema import BY_NAME
from eptreplay.units import PAGE_BYTES, binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.charts.chart import Chart
    from eptreplay.report.read.run import Guest
    from eptreplay.report.sections.parts import Context

EVENTS = {
    "generations": "new generations",
    "ipis": "IPIs",
    "forced_exits": "forced exits",
    "invepts": "INVEPTs",
    "x86_ipis": "IPIs, x86 format",
    "ipis_saved": "IPIs saved",
}
MEMORY = (
    ("resident", "Guest's pages in memory", "MiB"),
    ("free", "Free memory of the host", "MiB"),
    ("active", "Active queue", "MiB"),
    ("inactive", "Inactive queue", "MiB"),
    ("wired", "Wired", "MiB"),
    ("swap_copies", "Copies in swap", "MiB"),
    ("reservations_broken", "Reservations broken", "blocks"),
    ("promotions_lost", "Promotions lost", "superpages"),
)
ACTIVITY = (
    ("swap_ins", "Swap-ins", "pages"),
    ("laundered", "Written to swap", "pages"),
    ("cached", "Freed, with a copy in swap", "pages"),
    ("freed_clean", "Freed, never written", "pages"),
    ("deactivated", "Deactivated", "pages"),
    ("reactivated", "Reactivated", "pages"),
    ("zero_fills", "Zero fills", "pages"),
    ("soft_faults", "Soft faults", "exits"),
)
NOTHING = ("0", "0 B", "0 s")
BLOCKS = (
    "2 MB blocks are those of the guest's addresses, unless the hypervisor process touches memory first, through a mapping"
    " at another offset (--host-offset); at which one bhyve of FreeBSD 10 mapped it is not known."
)
FIRST_IN_LINE = 5
"""Candidates shown of every profile; the CSV file has all."""


def _meaning(table: str, name: str) -> str:
    """Return what a column means, as its table defines it."""
    columns = BY_NAME[table].columns if table in BY_NAME else ()
    return next((f"{of.meaning} (column {name} of {table})" for of in columns if of.name == name), name)


def causes(context: Context) -> Part:
    """Return what CPUs were interrupted for: one row per cause and event, one column per profile."""
    guest = context.guest
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for row in guest.frame("invalidations").iter_rows(named=True):
        key = (row["cause"], f"invalidations, {row['kind']}")
        counts.setdefault(key, {})[row["profile"]] = row["count"]
    for row in guest.frame("ipis").iter_rows(named=True):
        for name, title in EVENTS.items():
            if row[name]:
                counts.setdefault((row["cause"], title), {})[row["profile"]] = row[name]
    found = sorted(counts.items(), key=lambda item: item[0][0])
    link = context.files.table(
        "causes-of-ipis",
        ["cause", "event", *guest.profiles],
        [[*key, *(of.get(name, 0) for name in guest.profiles)] for key, of in found],
    )
    heads = profile_heads(guest, Head("cause", _meaning("ipis", "cause")))
    heads.insert(1, Head("event", word=True))
    rows = [
        (Head(cause), [Cell(event), *(Cell(f"{of.get(name, 0):,}") for name in guest.profiles)])
        for (cause, event), of in found
    ]
    about = "On whose behalf translations were invalidated, and what it cost the guest's CPUs."
    return Part(grids=[Grid("causes-of-ipis", "Invalidations and IPIs by cause", about, link, heads, rows)])


def host_memory(context: Context) -> Part:
    """Return the host's memory and what the page daemon did to the guest, over time."""
    charts = []
    for table, names, join in (("host_memory", MEMORY, group_last), ("swap_activity", ACTIVITY, group_sum)):
        for name, title, unit in names:
            lines = by_profile(context.guest, table, name, PAGE_BYTES / MIB if unit == "MiB" else 1)
            if lines:
                per = "" if join is group_last else " per interval"
                charts.append(
                    over_time(
                        context,
                        Caption(f"host-{name}", title, f"{unit}{per}", _meaning(table, name)),
                        lines,
                        join=join,
                        log=bool(per),
                    )
                )
    after = silent(context.guest)
    texts = [f"Over the host's time.{after} There the host takes it to stand still."] if after else []
    if charts:
        texts.append(BLOCKS)
    return Part(charts=charts, texts=texts)


def swap_candidates(context: Context) -> Part:
    """Return what the page daemon would take next, what that would cost, and how much is cold at each age."""
    guest = context.guest
    frame = guest.frame("swap_candidates")
    link = context.files.frame("swap_candidates", frame.drop("guest"))
    charts = [_cold_age(context)] if guest.has("cold_age") else []
    grids = [_totals(guest, frame, link), _first_in_line(guest, frame, link)]
    of_guest = silent(guest)
    texts = [f"As of the end of the guest's own trace.{of_guest}"] if of_guest else []
    return Part(charts=charts, grids=grids, texts=[*texts, *why(guest)])


def _totals(guest: Guest, frame: pl.DataFrame, link: str) -> Grid:
    """Return what could be taken, under every profile."""
    free = frame.filter(pl.col("excluded") == "")
    lines: list[tuple[Head, list[Any]]] = [
        (
            Head("could be taken", "bytes on a queue that are neither wired nor held"),
            _sums(guest, free, "bytes"),
        ),
        (
            Head("of that, dirty", "to be written before it can be freed"),
            _sums(guest, free.filter("dirty"), "bytes"),
        ),
        (Head("of that, used lately", "it would be kept"), _sums(guest, free.filter("used"), "bytes")),
        (
            Head("excluded", "wired or held: it cannot be taken"),
            _sums(guest, frame.filter(pl.col("excluded") != ""), "bytes"),
        ),
    ]
    rows = [(head, [Cell(binary_size(value)) for value in values]) for head, values in lines]
    for name, title in (
        ("writes", "predicted writes"),
        ("demotions", "predicted demotions"),
        ("ipis", "predicted IPIs"),
    ):
        rows.append(
            (
                Head(title, _meaning("swap_candidates", name)),
                [Cell(f"{value:,}") for value in _sums(guest, free, name)],
            )
        )
    cost = [Cell(seconds(value / 1e9)) for value in _sums(guest, free, "cost_ns")]
    rows.append((Head("assumed time of the writes", _meaning("swap_candidates", "cost_ns")), cost))
    rows = [rows[0], *(row for row in rows[1:] if any(cell.text not in NOTHING for cell in row[1]))]
    about = "What the page daemon could take of this guest at the end of its trace, and what that would cost."
    return Grid(
        "swap-totals", "What could be swapped out", about, link, profile_heads(guest, Head("measure")), rows
    )


def _sums(guest: Guest, frame: pl.DataFrame, name: str) -> list[int]:
    found = dict(frame.group_by("profile").agg(pl.col(name).sum()).iter_rows())
    return [int(found.get(profile, 0)) for profile in guest.profiles]


def _first_in_line(guest: Guest, frame: pl.DataFrame, link: str) -> Grid:
    """Return the first candidates of every profile."""
    order = {"inactive": 0, "active": 1}
    free = frame.filter(pl.col("excluded") == "").with_columns(
        at=pl.col("queue").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    )
    rows: list[tuple[Head, Sequence[Cell]]] = []
    for number, profile in enumerate(guest.profiles):
        of = free.filter(pl.col("profile") == profile).sort("at", "position", "gpa").head(FIRST_IN_LINE)
        rows += [(Head(profile, style=number), _candidate(guest, row)) for row in of.iter_rows(named=True)]
    columns = (
        ("gpa", "address, GiB"),
        ("bytes", "length"),
        ("queue", "queue"),
        ("position", "position, pages"),
        ("age_time", "not used for"),
        ("dirty", "dirty"),
        ("superpage", "superpage"),
        ("writes", "writes"),
        ("ipis", "IPIs"),
    )
    return Grid(
        "swap-first",
        "First in line",
        f"The {FIRST_IN_LINE} runs of pages of every profile that the page daemon would examine first; the CSV file has all.",
        link,
        [
            Head("profile"),
            *(
                Head(title, _meaning("swap_candidates", name), word=name == "queue")
                for name, title in columns
            ),
        ],
        rows,
        "No page can be taken: all are wired or held, or the guest has none in memory.",
    )


def _candidate(guest: Guest, row: dict[str, Any]) -> list[Cell]:
    return [
        Cell(f"{row['gpa'] / GIB:.6g}"),
        Cell(binary_size(row["bytes"])),
        Cell(row["queue"]),
        Cell("-" if row["position"] is None else f"{row['position']:,}"),
        Cell(_age(guest, row)),
        Cell("yes" if row["dirty"] else "no"),
        Cell("yes" if row["superpage"] else "no"),
        Cell(f"{row['writes']:,}"),
        Cell(f"{row['ipis']:,}"),
    ]


def _age(guest: Guest, row: dict[str, Any]) -> str:
    """Return an age in time where that is known, else in scans."""
    known = None if row["age_time"] is None else in_seconds(row["age_time"], guest.about["time_unit"])
    return f"{row['age_scans']:,} scans" if known is None else seconds(known)


def _cold_age(context: Context) -> Chart:
    """Return how much had not been used for at least an age, by profile."""
    guest = context.guest
    frame = guest.frame("cold_age").sort("age_scans")
    link = context.files.frame("cold_age", frame.drop("guest"))
    ages = frame.unique("age_scans", keep="first").sort("age_scans")
    scans = ages["age_scans"].to_numpy()
    labels = [_age(guest, row) for row in ages.iter_rows(named=True)]
    series = []
    for number, profile in enumerate(guest.profiles):
        part = frame.filter(pl.col("profile") == profile)
        values = np.full(len(scans), np.nan)
        values[np.searchsorted(scans, part["age_scans"].to_numpy())] = part["bytes"].to_numpy() / MIB
        series.append(Series(profile, values, number))
    axis = Scale(0, float(scans.max(initial=1)), whole=True)
    caption = Caption(
        "cold-age",
        "Cold to the page daemon",
        "MiB",
        "Memory that no scan found used for at least an age, at the end of the guest's trace: what the page daemon could reclaim. Wired and held "
        "pages are not in it.",
        link,
    )
    points = Points(axis.place(scans.astype(np.float64)), labels, axis.ticks(6), "age, idle scans")
    return curve_chart(caption, series, points)
