"""VM exits and IPIs: what made vCPUs leave the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.lines import Series
from eptreplay.report.charts.time_charts import group_last
from eptreplay.report.sections.parts import (
    Cell,
    Grid,
    Head,
    Part,
    over_time,
    profile_heads,
    summed,
)

if TYPE_CHECKING:
    from eptreplay.report.charts.chart import Chart
    from eptreplay.report.read.run import Guest
    from eptreplay.report.sections.parts import Context

EMULATED = ("ad_emulated_r", "ad_emulated_w")
RESOLVED = ("vm_faults_r", "vm_faults_w", "vm_faults_x")

CAUSES = {
    "accessed": "the page was mapped, its emulated accessed bit clear",
    "dirty": "the page was mapped, its emulated dirty bit clear",
    "first_use": "the page had never been used",
    "unmapped": "the page was in memory, but its mapping had been removed",
    "write_protected": "a write to a page mapped for reading",
    "superpage_protected": "a write to a 2 MB mapping for reading",
}


def exits(context: Context) -> Part:
    """Return exits, IPIs and their targets over time, and exits by kind and cause."""
    return Part(charts=_charts(context), grids=[_causes(context)])


def _charts(context: Context) -> list[Chart]:
    guest = context.guest
    return [
        over_time(
            context,
            Caption(
                "exits",
                "Exits",
                "exits per interval",
                "VM exits: accesses that left the guest, resolved by A/D emulation or by vm_fault.",
            ),
            summed(guest, EMULATED + RESOLVED),
            log=True,
        ),
        *_by_cause(context),
        over_time(
            context,
            Caption(
                "ipis",
                "IPIs",
                "IPIs per interval",
                "Interprocessor interrupts to CPUs that run the guest, after an invalidation (ipis + x86_ipis).",
            ),
            summed(guest, ("ipis", "x86_ipis")),
            log=True,
        ),
        over_time(
            context,
            Caption(
                "targets",
                "Targets per invalidation",
                "IPIs per invalidation",
                "IPIs divided by calls of pmap_invalidate_*; a gap where nothing was invalidated.",
            ),
            _targets(guest),
            join=group_last,
        ),
    ]


def _by_cause(context: Context) -> list[Chart]:
    """Return exits over time, one chart per cause."""
    guest = context.guest
    if not guest.has("fault_intervals"):
        return []
    frame = guest.frame("fault_intervals")
    counts = {(name, cause): np.zeros(guest.intervals) for name in guest.profiles for cause in CAUSES}
    columns = (frame[name].to_list() for name in ("profile", "cause", "interval", "count"))
    for profile, cause, interval, number in zip(*columns, strict=True):
        if (profile, cause) in counts:
            counts[profile, cause][interval] += number
    return [
        over_time(
            context,
            Caption(
                f"cause-{cause}",
                f"Exits: {cause.replace('_', ' ')}",
                "exits per interval",
                f"Exits because {about}.",
            ),
            [Series(name, counts[name, cause], number) for number, name in enumerate(guest.profiles)],
            log=True,
        )
        for cause, about in CAUSES.items()
    ]


def _targets(guest: Guest) -> list[Series]:
    calls = summed(guest, ("inv_page", "inv_range", "inv_all"))
    ipis = summed(guest, ("ipis", "x86_ipis"))
    return [
        line._replace(
            values=np.divide(line.values, of.values, out=np.full(len(of.values), np.nan), where=of.values > 0)
        )
        for line, of in zip(ipis, calls, strict=True)
    ]


def _causes(context: Context) -> Grid:
    """Return one row per kind and cause: how often it occurred under every profile."""
    guest = context.guest
    counts: dict[tuple[str, str, str], dict[str, int]] = {}
    for row in guest.frame("faults").iter_rows(named=True):
        counts.setdefault((row["kind"], row["cause"], row["resolution"]), {})[row["profile"]] = row["count"]
    found = sorted(counts.items())
    link = context.files.table(
        "causes",
        ["kind", "cause", "resolved by", *(f"{name} [exits]" for name in guest.profiles)],
        [[*key, *(of.get(name, 0) for name in guest.profiles)] for key, of in found],
    )
    heads = profile_heads(guest, Head("kind", "what the guest did"))
    heads[1:1] = [
        Head("cause", "why the page walker refused the access", word=True),
        Head("resolved by", "setting an emulated bit, or vm_fault", word=True),
    ]
    return Grid(
        "causes",
        "Exits by kind and cause",
        "Combinations that never occurred are left out.",
        link,
        heads,
        [
            (
                Head(kind, CAUSES.get(cause, "")),
                [Cell(cause), Cell(how), *(Cell(f"{of.get(name, 0):,}") for name in guest.profiles)],
            )
            for (kind, cause, how), of in found
        ],
        "No access left the guest.",
    )
