"""The charts of a guest's page that come from the counters by interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.report.charts import Chart, Series, group_last, group_sum, time_chart
from eptreplay.report.csvs import CSV_FOLDER, write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.report.run import Guest

EMULATED = ("ad_emulated_r", "ad_emulated_w")
RESOLVED = ("vm_faults_r", "vm_faults_w", "vm_faults_x")


class Files:
    """Where a guest's CSV files go, and what a page calls them."""

    def __init__(self, folder: Path, guest: Guest) -> None:
        self._guest = guest
        self._path = folder / CSV_FOLDER / guest.slug
        self._path.mkdir(parents=True, exist_ok=True)
        self._link = f"../{CSV_FOLDER}/{guest.slug}"

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
        """Write a table and return the link to it."""
        write_csv(self._path / f"{name}.csv", header, rows)
        return f"{self._link}/{name}.csv"

    def over_time(self, name: str, unit: str, series: Sequence[Series]) -> str:
        """Write values by interval, a column a line of the chart, and return the link."""
        bounds = self._guest.bounds
        times = ("start_s", "end_s") if bounds is not None else ()
        header = ["interval", *times, *(f"{line.name} [{unit}]" for line in series)]
        rows = [
            [
                at,
                *(bounds[at : at + 2].tolist() if bounds is not None else ()),
                *(_value(line.values[at]) for line in series),
            ]
            for at in range(self._guest.intervals)
        ]
        return self.table(name, header, rows)


def _value(value: float) -> float | str:
    return "" if value != value else float(value)  # noqa: PLR0124 - not a number


def summed(guest: Guest, names: Sequence[str]) -> list[Series]:
    """Return the sum of counters by interval, a line a profile."""
    return [
        Series(
            profile,
            np.sum([guest.interval_column(profile, name) for name in names], axis=0).astype(np.float64),
            number,
        )
        for number, profile in enumerate(guest.profiles)
    ]


def counted(
    guest: Guest,
    files: Files,
    ident: str,
    title: str,
    unit: str,
    about: str,
    series: Sequence[Series],
    *,
    log: bool = False,
    level: bool = False,
    note: str = "",
) -> Chart:
    """Return a chart over time and write its CSV; several intervals to a step add up, levels keep the last."""
    link = files.over_time(ident, unit, series)
    join: Callable[[NDArray[Any], int], NDArray[np.float64]] = group_last if level else group_sum
    drawn = [line._replace(values=join(line.values, guest.span.group)) for line in series]
    return time_chart(ident, title, unit, about, link, drawn, guest.span, log=log, note=note)


def exit_charts(guest: Guest, files: Files) -> list[Chart]:
    """Return what left the guest over time."""
    return [
        counted(
            guest,
            files,
            "exits",
            "Exits",
            "exits per interval",
            "Accesses that left the guest, settled by A/D emulation or by vm_fault.",
            summed(guest, EMULATED + RESOLVED),
            log=True,
        ),
        counted(
            guest,
            files,
            "ipis",
            "IPIs",
            "IPIs per interval",
            "Interprocessor interrupts to CPUs that run the guest, after an invalidation (ipis + x86_ipis).",
            summed(guest, ("ipis", "x86_ipis")),
            log=True,
        ),
        counted(
            guest,
            files,
            "targets",
            "Targets per invalidation",
            "IPIs per invalidation",
            "IPIs divided by calls of pmap_invalidate_*; a gap where nothing was invalidated.",
            _targets(guest),
            level=True,
        ),
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


def superpage_charts(guest: Guest, files: Files) -> list[Chart]:
    """Return what became of superpages over time."""
    standing = [
        Series(
            line.name,
            np.cumsum(line.values - gone.values),
            line.profile,
        )
        for line, gone in zip(
            summed(guest, ("promotions", "mappings")), summed(guest, ("demotions",)), strict=True
        )
    ]
    events = (
        ("promotions", "Promotions", "512 mappings of 4 KB became one of 2 MB (vm.pmap.pde.promotions)."),
        ("demotions", "Demotions", "2 MB mappings split into 512 (vm.pmap.pde.demotions)."),
        ("p_failures", "Failed promotions", "Promotions tried in vain (vm.pmap.pde.p_failures)."),
    )
    return [
        counted(
            guest,
            files,
            "superpages",
            "Superpages standing",
            "superpages of 2 MB",
            "Mappings of 2 MB at the end of the interval: promotions + direct mappings - demotions since the start.",
            standing,
            level=True,
        ),
        *(
            counted(guest, files, name, title, "per interval", about, summed(guest, (name,)), log=True)
            for name, title, about in events
        ),
    ]
