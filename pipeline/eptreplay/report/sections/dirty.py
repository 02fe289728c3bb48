"""What was written, what the host could see of it, and what seeing it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.lines import Series
from eptreplay.report.charts.time_charts import group_mean
from eptreplay.report.costs.times import why_untimed
from eptreplay.report.read.frames import parts_of, rows_with
from eptreplay.report.read.numbers import memory
from eptreplay.report.sections.parts import (
    Cell,
    Grid,
    Head,
    Part,
    by_profile,
    interval_values,
    over_time,
)
from eptreplay.tables.analysis import DIRTY, DIRTY_RATE

if TYPE_CHECKING:
    import polars as pl

    from eptreplay.report.charts.chart import Chart
    from eptreplay.report.read.run import Guest
    from eptreplay.report.sections.parts import Context

SEEN = (
    ("dirty_bits_4k", "Dirty bits set, 4 KB", "bits"),
    ("dirty_bits_2m", "Dirty bits set, 2 MB", "bits"),
    ("pml_entries", "Page-modification log", "entries"),
    ("pml_exits", "Exits for a full log", "exits"),
)
HARVEST = (
    ("harvest_demotions", "Demotions by harvests", "superpages"),
    ("harvest_invalidations", "Invalidations by harvests", "invalidations"),
    ("harvest_ipis", "IPIs by harvests", "IPIs"),
    ("refaults", "Refaults after harvests", "exits"),
    ("repromotions", "Promotions after harvests", "superpages"),
)
TRUTH = 6
"""Style of the line that is true under every profile: not that of the first profiles."""

NO_HARVEST = (
    "No harvest took place, so what collecting dirty bits costs is not shown; replay with --policy harvest."
)

INVISIBLE = (
    "Devices wrote pages that nobody else wrote in the same interval, {} over all intervals. DMA sets no dirty bit: a host "
    "that trusts dirty bits misses them."
)


def dirty(context: Context) -> Part:
    """Return the truth beside what dirty bits and logs show, and the cost of harvests."""
    guest = context.guest
    harvested = bool(guest.frame("dirty")["harvests"].sum())
    names = (*SEEN, *HARVEST) if harvested else SEEN
    meanings = {column.name: column.meaning for column in DIRTY.columns}
    charts = [_truth(context), *_rate(context)]
    if harvested:
        charts.append(_found(context))
    texts = [] if harvested else [NO_HARVEST]
    invisible = interval_values(guest, one_profile(guest), "pages_invisible")
    if invisible.any():
        texts.insert(0, INVISIBLE.format(memory(invisible.sum())))
    for name, title, unit in names:
        lines = by_profile(guest, "dirty", name)
        if lines:
            about = f"{meanings[name]} (column {name} of the table dirty)"
            charts.append(
                over_time(context, Caption(name, title, f"{unit} per interval", about), lines, log=True)
            )
    return Part(
        charts=charts,
        grids=[_rates(context)] if guest.has("dirty_rate") else [],
        texts=texts,
    )


def one_profile(guest: Guest) -> pl.DataFrame:
    """Return the table dirty under one profile, for what is the same under all."""
    parts = guest.by_profile("dirty")
    return parts[guest.profiles[0]] if guest.profiles[0] in parts else guest.frame("dirty").clear()


def _truth(context: Context) -> Chart:
    guest = context.guest
    one = one_profile(guest)
    written, regions, invisible = (
        interval_values(guest, one, name) for name in ("pages_written", "pages_in_regions", "pages_invisible")
    )
    series = [Series("at 4 KB", written, style=0), Series("at 2 MB", regions, style=1)]
    if invisible.any():
        series.append(Series("seen by dirty bits, at 4 KB", written - invisible, style=2))
    return over_time(
        context,
        Caption(
            "dirtied",
            "Memory written",
            "pages per interval",
            "Distinct pages written in an interval (the truth, the same under every profile), and what the interval looks like "
            "at a granularity of 2 MB, where one write makes 512 pages dirty. Dirty bits do not see what only devices wrote.",
        ),
        series,
        join=group_mean,
        log=True,
    )


def _found(context: Context) -> Chart:
    guest = context.guest
    written = interval_values(guest, one_profile(guest), "harvest_written")
    return over_time(
        context,
        Caption(
            "harvest_pages",
            "Found dirty by harvests",
            "pages per interval",
            "Pages that harvests found dirty, beside the truth: distinct pages written since the harvest before, by whomever. More than "
            "that are pages entered as written, such as wired ones; fewer are writes that no dirty bit shows.",
        ),
        [
            Series("written since the harvest before", written, style=TRUTH),
            *by_profile(guest, "dirty", "harvest_pages"),
        ],
        log=True,
    )


def _rate(context: Context) -> list[Chart]:
    """Return the dirty rate by writer."""
    guest = context.guest
    frame = guest.frame("writers")
    if frame.is_empty():
        return []
    scale, unit = guest.mib_second
    parts = parts_of(frame, "writer", "vcpu", "device")
    ordered = sorted(parts.items(), key=lambda item: _order(*item[0]))
    series = [
        Series(writer_name(*key), scale * interval_values(guest, part, "pages_written"), style=number)
        for number, (key, part) in enumerate(ordered)
    ]
    if len(series) > 1:
        series.insert(0, Series("all", np.sum([line.values for line in series], axis=0), style=len(series)))
    about = (
        "Distinct pages written in an interval, as a rate over trace time, by writer: the vCPU or hypervisor that was first to "
        "write each, or a device where nobody else wrote it, so that no dirty bit shows it."
    )
    return [over_time(context, Caption("dirty-rate", "Dirty rate", unit, about), series, join=group_mean)]


def _order(writer: object, vcpu: object, device: object) -> tuple[int, int, str]:
    place = ("all", "vcpu", "hypervisor", "device").index(str(writer))
    return place, int(str(vcpu)) if vcpu is not None else -1, str(device)


def writer_name(writer: object, vcpu: object, device: object) -> str:
    """Return what a writer is called."""
    if vcpu is not None:
        return f"vCPU {vcpu}"
    return f"device {device} (DMA)" if writer == "device" else str(writer)


def _rates(context: Context) -> Grid:
    """Return how the dirty rate of every writer is distributed."""
    guest = context.guest
    frame = guest.frame("dirty_rate")
    columns = [column for column in DIRTY_RATE.columns if column.unit.startswith(("MiB/s", "(MiB"))]
    link = context.files.frame("dirty_rate", frame)
    titles = {
        "mean_mib_per_second": "average",
        "variance": "variance",
        "p0_mib_per_second": "least",
        "p25_mib_per_second": "25 %",
        "p50_mib_per_second": "median",
        "p75_mib_per_second": "75 %",
        "p100_mib_per_second": "most",
    }
    return Grid(
        "dirty-rates",
        "Dirty rate over the intervals",
        "MiB/s, the variance in (MiB/s)^2: how the rates of the intervals are distributed, by writer.",
        link,
        [
            Head("writer"),
            *(
                Head(f"{titles.get(column.name, column.name)}, {column.unit}", column.meaning)
                for column in columns
            ),
        ],
        [
            (
                Head(writer_name(row["writer"], row["vcpu"], row["device"])),
                [Cell(f"{row[column.name]:.4g}") for column in columns],
            )
            for row in rows_with(frame, "mean_mib_per_second").iter_rows(named=True)
        ],
        why_untimed(context.guest) or "Nothing was written.",
    )
