"""Memory that has to stay: what devices and the hypervisor keep wired or held, and what they wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from eptreplay.report.answers.answers import devices, passed
from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.lines import Series
from eptreplay.report.charts.time_charts import group_sum
from eptreplay.report.read.numbers import count, memory
from eptreplay.report.sections.dirty import writer_name
from eptreplay.report.sections.parts import Cell, Grid, Head, Part, interval_values, over_time, profile_heads
from eptreplay.tables.schema import BY_NAME
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from eptreplay.report.charts.chart import Chart
    from eptreplay.report.read.run import Guest
    from eptreplay.report.sections.parts import Context

MEASURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("wired_pages", "wired at the end", memory),
    ("holds", "holds", count),
    ("releases", "releases", count),
    ("held_at_end", "holds never released", count),
    ("host_accesses", "pages touched by the hypervisor's process", count),
    ("host_faults", "faults of its own mapping", count),
    ("host_ipis", "shootdowns of its own mapping", count),
    ("denied", "accesses denied to the guest", count),
)

BAR_COUNTS = ("reads", "writes", "fetches", "faults")

WIRED = (
    "All of its memory, {}, is wired for the {}: DMA can reach every page at any time. A wired page is never swapped out, so "
    "this guest has no swap candidates while it has a device."
)


def wired(context: Context) -> Part:
    """Return what keeps memory from being taken, who else than vCPUs wrote, and the devices."""
    guest = context.guest
    grids = [_wiring(context)]
    if guest.has("passthrough"):
        grids.append(_devices(context))
    return Part(charts=_writes(context), grids=grids, texts=[*why(guest), *_dma(guest)], columns=1)


def why(guest: Guest) -> list[str]:
    """Return why memory of the guest cannot be taken, if that is so."""
    row = next(iter(guest.frame("wiring").iter_rows(named=True)), None)
    if row is None or not row["wired_pages"]:
        return []
    pages = memory(row["wired_pages"])
    if row["reason"] == "passthrough":
        return [WIRED.format(pages, passed(devices(guest)))]
    return [f"{pages} are wired by events of the trace: none of that is a swap candidate."]


def _writes(context: Context) -> list[Chart]:
    """Return what others than vCPUs wrote, over time."""
    guest = context.guest
    frame = guest.frame("writers")
    parts = frame.filter(pl.col("writer") != "vcpu").partition_by("writer", "device", as_dict=True)
    if not parts:
        return []
    lines = [
        Series(writer_name(writer, None, device), interval_values(guest, part, "pages_written"), style=number)
        for number, ((writer, device), part) in enumerate(sorted(parts.items(), reverse=True))
    ]
    about = (
        "Distinct pages that the hypervisor was first to write in an interval, and pages that only a device wrote. Dirty bits show "
        "the former, through the hypervisor's own mapping; the latter they never show."
    )
    return [
        over_time(
            context,
            Caption("other-writers", "Written by others than vCPUs", "pages per interval", about),
            lines,
            join=group_sum,
        )
    ]


def _wiring(context: Context) -> Grid:
    """Return what was wired, held and touched, one column per profile; lines of nothing but 0 are left out."""
    guest = context.guest
    frame = guest.frame("wiring")
    link = context.files.frame("wiring", frame.drop("guest"))
    rows = {row["profile"]: row for row in frame.iter_rows(named=True)}
    meanings = {column.name: column.meaning for column in BY_NAME["wiring"].columns}
    lines = [
        (
            Head(title, f"{meanings[name]} (column {name} of wiring)"),
            [Cell(text(rows[profile][name]) if profile in rows else "0") for profile in guest.profiles],
        )
        for name, title, text in MEASURES
        if any(row[name] for row in rows.values())
    ]
    return Grid(
        "wiring",
        "Wired, held and touched by the host",
        "What the host did to the guest's memory itself.",
        link,
        profile_heads(guest, Head("measure")),
        lines,
    )


def _dma(guest: Guest) -> list[str]:
    """Return what all devices together did, the same under every profile."""
    row = next(iter(guest.frame("passthrough").iter_rows(named=True)), None)
    if row is None:
        return []
    reads, writes = count(row["dma_reads"], "page"), count(row["dma_writes"], "page")
    return [
        f"By DMA {reads} were read and {writes} written, {memory(row['invisible_pages'])} of them distinct: unseen by dirty bits."
    ]


def _devices(context: Context) -> Grid:
    """Return the passthrough devices; what they did is the same under every profile."""
    guest = context.guest
    frame = guest.frame("passthrough").filter(pl.col("profile") == guest.profiles[0])
    link = context.files.frame("passthrough", frame.drop("guest", "profile"))
    meanings = {column.name: column.meaning for column in BY_NAME["passthrough"].columns}
    wrote = dict(guest.frame("writers").group_by("device").agg(pl.col("pages_written").sum()).iter_rows())
    return Grid(
        "passthrough",
        "Passthrough devices",
        "Devices of a guest share one IOMMU domain, which maps all of its memory.",
        link,
        [
            Head("device"),
            Head("BARs", meanings["bar_bytes"]),
            Head("IOMMU domain", meanings["domain_pages"]),
            *(Head(f"BAR {name}", meanings[f"bar_{name}"]) for name in BAR_COUNTS),
            Head(
                "written by it alone",
                "pages that nobody else wrote in the same interval, summed over the intervals",
            ),
        ],
        [
            (
                Head(row["device"]),
                [
                    Cell(binary_size(row["bar_bytes"])),
                    Cell(memory(row["domain_pages"])),
                    *(Cell(count(row[f"bar_{name}"])) for name in BAR_COUNTS),
                    Cell(count(wrote.get(row["device"], 0), "page")),
                ],
            )
            for row in frame.iter_rows(named=True)
        ],
    )
