"""Rows of the tables `dirty`, `writers` and `dirty_rate`: what was written, by whom, and what the host could see of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.analysis.distribution import percentiles
from eptreplay.replay.found.snapshots import stacked
from eptreplay.results.columns import columns_of
from eptreplay.tables.analysis import DIRTY_RATE, WRITERS
from eptreplay.units import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eptreplay.replay.found.guest import GuestResult
    from eptreplay.results.columns import Columns
    from eptreplay.results.findings.times import Times

MIB = 1 << 20

DIRTY_COUNTERS = {
    "dirty_bits_4k": "dirty_bits_4k",
    "dirty_bits_2m": "dirty_bits_2m",
    "pml_entries": "pml_entries",
    "pml_exits": "pml_exits",
    "harvests": "harvests",
    "harvest_pages": "dirty_all_harvests",
    "harvest_demotions": "harvest_demotions",
    "harvest_invalidations": "harvest_invalidations",
    "harvest_ipis": "harvest_ipis",
    "refaults": "refaults",
    "repromotions": "repromotions",
}
"""Columns of the table `dirty`, and the model's counters they come from."""


def dirty(result: GuestResult, profiles: Sequence[str]) -> Columns:
    """Return the truth, what the host could see of it, and what that cost, by interval and profile."""
    snapshots = result.snapshots
    tally = stacked([snapshot.statistics.tally for snapshot in snapshots])[:, 0]
    every = len(profiles)
    columns: Columns = {
        "guest": [result.trace.name] * (len(snapshots) * every),
        "profile": [name for name in profiles for _ in snapshots],
        "interval": list(range(len(snapshots))) * every,
        "pages_written": np.tile(tally["written"], every),
        "pages_invisible": [sum(snapshot.others.devices.values()) for snapshot in snapshots] * every,
        "regions_written": np.tile(tally["regions"], every),
        "pages_in_regions": np.tile(tally["region_pages"], every),
        "harvest_written": np.tile(np.diff(tally["harvest_written"], prepend=0), every),
    }
    cnt = stacked([snapshot.cnt for snapshot in snapshots])
    for name, counter in DIRTY_COUNTERS.items():
        columns[name] = np.diff(cnt[counter], axis=0, prepend=0).T.reshape(-1)
    logs = np.repeat(np.array(result.pml, bool), len(snapshots))
    for name in ("pml_entries", "pml_exits"):
        columns[name] = np.ma.masked_array(columns[name], ~logs)
    return columns


class _Writer(NamedTuple):
    """Somebody who writes to the guest's memory.

    Args:
        kind: as in the table `writers`.
        vcpu: the vCPU; None for other writers.
        device: name of the device; empty for other writers.
        pages: shape [intervals]: pages that belong to it.
    """

    kind: str
    vcpu: int | None
    device: str
    pages: NDArray[np.int64]

    def who(self) -> dict[str, Any]:
        """Return the columns that say who it is."""
        return {"writer": self.kind, "vcpu": self.vcpu, "device": self.device}


def _writers(result: GuestResult) -> list[_Writer]:
    """Return everybody who could have written: vCPUs and devices, and the hypervisor if it did."""
    by_vcpu = np.stack([snapshot.statistics.first_writes for snapshot in result.snapshots], axis=1)
    others = [snapshot.others for snapshot in result.snapshots]
    found = [_Writer("vcpu", number, "", pages) for number, pages in enumerate(by_vcpu)]
    hypervisor = np.array([of.hypervisor for of in others], np.int64)
    if hypervisor.any():
        found.append(_Writer("hypervisor", None, "", hypervisor))
    for number, device in enumerate(result.trace.devices):
        pages = np.array([of.devices.get(number, 0) for of in others], np.int64)
        found.append(_Writer("device", None, device.name, pages))
    return found


def _rate(pages: NDArray[np.int64], times: Times) -> NDArray[np.float64] | None:
    """Return pages of each interval as MiB/s; None where times are not known."""
    return None if times.intervals is None else pages * (PAGE_BYTES / MIB) / times.intervals


def writers(result: GuestResult, times: Times) -> Columns:
    """Return who wrote how much in every interval."""
    rows = []
    for writer in _writers(result):
        begin, end = times.life
        rate = _rate(writer.pages[begin:end], times)
        rows += [
            {
                "interval": interval,
                **writer.who(),
                "pages_written": int(writer.pages[interval]),
                "mib_per_second": None if rate is None else float(rate[interval - begin]),
            }
            for interval in np.flatnonzero(writer.pages).tolist()
        ]
    return columns_of(WRITERS, result, sorted(rows, key=lambda row: int(row["interval"])))


def dirty_rate(result: GuestResult, times: Times) -> Columns:
    """Return how the rate of every writer, and of all together, is distributed over the intervals of the guest's trace."""
    life = slice(*times.life)
    parts = [writer._replace(pages=writer.pages[life]) for writer in _writers(result)]
    together = _Writer("all", None, "", np.sum([writer.pages for writer in parts], axis=0))
    rows = [
        {
            **writer.who(),
            "intervals": times.life.end - times.life.begin,
            **_distribution(_rate(writer.pages, times)),
        }
        for writer in (together, *parts)
    ]
    return columns_of(DIRTY_RATE, result, rows)


def _distribution(rate: NDArray[np.float64] | None) -> dict[str, Any]:
    """Return mean, variance and percentiles of a rate; None for each where it is not known."""
    known = np.zeros(1) if rate is None else rate
    figures = {
        "mean_mib_per_second": float(known.mean()),
        "variance": float(known.var()),
        **percentiles(known, "mib_per_second"),
    }
    return dict.fromkeys(figures) if rate is None else figures
