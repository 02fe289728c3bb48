"""What was written, what the host could see of it, and what seeing it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.analysis_tables import DIRTY, DIRTY_RATE
from eptreplay.report.charts import Series, group_mean
from eptreplay.report.sections.parts import (
    Cell,
    Grid,
    Head,
    Part,
    by_profile,
    interval_values,
    over_time,
)

if TYPE_CHECKING:
    from eptreplay.report.charts import Chart
    from eptreplay.report.sections.parts import Context

SEEN = (
    ("dirty_bits_4k", "Dirty bits set, 4 KB", "bits"),
    ("dirty_bits_2m", "Dirty bits set, 2 MB", "bits"),
    ("pml_entries", "Page-modification log", "entries"),
    ("pml_exits", "Exits for a full log", "exits"),
)
HARVEST = (
    ("harvest_pages", "Found dirty by harvests", "pages"),
    ("harvest_written", "Written since the harvest before", "pages"),
    ("harvest_demotions", "Demotions by harvests", "superpages"),
    ("harvest_invalidations", "Invalidations by harvests", "invalidations"),
    ("harvest_ipis", "IPIs by harvests", "IPIs"),
    ("refaults", "Refaults after harvests", "exits"),
    ("repromotions", "Promotions after harvests", "superpages"),
)
NO_HARVEST = (
    "No harvest took place, so what collecting dirty bits costs is not shown; replay with --policy harvest."
)


def dirty(context: Context) -> Part:
    """Return the truth beside what dirty bits and logs show, and the cost of harvests."""
    guest = context.guest
    harvested = bool(guest.frame("dirty")["harvests"].sum())
    names = (*SEEN, *HARVEST) if harvested else SEEN
    meanings = {column.name: column.meaning for column in DIRTY.columns}
    charts = [_truth(context), *_rate(context)]
    for name, title, unit in names:
        lines = by_profile(guest, "dirty", name)
        if lines:
            about = f"{meanings[name]} (column {name} of the table dirty)"
            charts.append(over_time(context, name, title, f"{unit} per interval", about, lines, log=True))
    return Part(
        charts=charts,
        grids=[_rates(context)] if guest.has("dirty_rate") else [],
        texts=[] if harvested else [NO_HARVEST],
    )


def _truth(context: Context) -> Chart:
    guest = context.guest
    frame = guest.frame("dirty")
    one = frame.filter(frame["profile"] == guest.profiles[0])
    return over_time(
        context,
        "dirtied",
        "Memory written",
        "pages per interval",
        "Distinct pages written in an interval (the truth, the same under every profile), and what the interval looks like "
        "at a granularity of 2 MB, where one write makes 512 pages dirty.",
        [
            Series("at 4 KB", interval_values(guest, one, "pages_written"), style=0),
            Series("at 2 MB", interval_values(guest, one, "pages_in_regions"), style=1),
        ],
        join=group_mean,
        log=True,
    )


def _rate(context: Context) -> list[Chart]:
    """Return the dirty rate by writer."""
    guest = context.guest
    frame = guest.frame("writers")
    if frame.is_empty():
        return []
    scale, unit = guest.mib_second
    parts = frame.partition_by("writer", "vcpu", as_dict=True, maintain_order=True)
    ordered = sorted(parts.items(), key=lambda item: _order(*item[0]))
    series = [
        Series(writer_name(*key), scale * interval_values(guest, part, "pages_written"), style=number)
        for number, (key, part) in enumerate(ordered)
    ]
    if len(series) > 1:
        series.insert(0, Series("all", np.sum([line.values for line in series], axis=0), style=len(series)))
    about = (
        "Distinct pages written in an interval, as a rate over trace time, by who was first to write each: a vCPU of the guest, "
        "the hypervisor's process, or a device, whose writes no dirty bit records."
    )
    return [over_time(context, "dirty-rate", "Dirty rate", unit, about, series, join=group_mean)]


def _order(writer: object, vcpu: object) -> tuple[int, int]:
    return ("all", "guest", "host", "dma").index(str(writer)), int(str(vcpu)) if vcpu is not None else -1


def writer_name(writer: object, vcpu: object) -> str:
    """Return what a writer is called."""
    names = {"all": "all", "guest": "guest", "host": "hypervisor's process", "dma": "devices (DMA)"}
    return f"vCPU {vcpu}" if vcpu is not None else names.get(str(writer), str(writer))


def _rates(context: Context) -> Grid:
    """Return how the dirty rate of every writer is distributed."""
    guest = context.guest
    frame = guest.frame("dirty_rate")
    columns = [column for column in DIRTY_RATE.columns if column.unit.startswith(("MiB/s", "(MiB"))]
    link = context.files.table("dirty_rate", frame.columns[1:], frame.drop("guest").rows())
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
                Head(writer_name(row["writer"], row["vcpu"])),
                [Cell(f"{row[column.name]:.4g}") for column in columns],
            )
            for row in frame.drop_nulls("mean_mib_per_second").iter_rows(named=True)
        ],
        "Nothing was written, or the trace has no times.",
    )
