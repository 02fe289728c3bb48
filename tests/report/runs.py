"""Runs made by hand: a folder with run.json and tables, as a replay would leave it, without a replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.tables.files import TABLES_FOLDER, TableWriter, slug, write_run_file
from eptreplay.tables.schema import BY_NAME, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

MIB = 1 << 20
MEMORY = 64 * MIB
SECOND = 1_000_000_000

Row = dict[str, Any]

WRITERS: tuple[tuple[str, int | None, str], ...] = (("vcpu", 0, ""), ("vcpu", 1, ""), ("device", None, "nic"))


@dataclass
class MadeGuest:
    """A guest of a made run: its name, length and rows by table; `guest` and what is missing are filled in."""

    name: str
    intervals: int = 8
    seconds: float | None = 8.0
    tables: dict[str, list[Row]] = field(default_factory=dict)


def counters(guest: MadeGuest, profiles: Sequence[str]) -> None:
    """Give a guest a summary and intervals in which every counter differs between profiles and over time."""
    end = None if guest.seconds is None else round(guest.seconds * SECOND)
    intervals: list[Row] = []
    for number, profile in enumerate(profiles):
        for at in range(guest.intervals):
            wave = (at * 7 + 3) % 11
            row = {
                "profile": profile,
                "interval": at,
                "start_time": None if end is None else end * at // guest.intervals,
                "end_time": None if end is None else end * (at + 1) // guest.intervals,
                "rows": 100,
                "reads": 60,
                "writes": 30,
                "fetches": 10,
                "ad_emulated_w": number * wave,
                "vm_faults_r": 2 * wave,
                "traps": (2 + number) * wave,
                "promotions": wave % 2,
                "pages_touched": wave,
                "pages_written": wave // 2,
            }
            intervals.append(row)
        summed = {
            name: sum(int(row[name]) for row in intervals if row["profile"] == profile)
            for name in (
                "rows",
                "reads",
                "writes",
                "fetches",
                "ad_emulated_w",
                "vm_faults_r",
                "traps",
                "promotions",
            )
        }
        guest.tables.setdefault("summary", []).append(
            {
                "profile": profile,
                "vcpus": 2,
                "memory_bytes": MEMORY,
                "first_time": None if end is None else 0,
                "last_time": end,
                "pages_touched": 4096,
                "pages_written": 1024,
                **summed,
            }
        )
    guest.tables["intervals"] = intervals
    guest.tables.setdefault("faults", []).extend(
        {"profile": name, "kind": "read", "cause": "first_use", "resolution": "vm_fault", "count": 40}
        for name in profiles
    )


def analysis(guest: MadeGuest, profiles: Sequence[str]) -> None:
    """Give a guest rows in every table of the analysis."""
    chance = np.random.default_rng(7)
    size = MIB
    guest.tables["heatmap"] = [
        {
            "interval": at,
            "gpa_start": int(where) * size,
            "bytes": size,
            "pages_touched": 200,
            "pages_read": int(chance.integers(0, 200)),
            "pages_written": int(chance.integers(0, 30)),
            "pages_fetched": 0,
        }
        for at in range(guest.intervals)
        for where in sorted(chance.choice(MEMORY // size, 20, replace=False))
    ]
    guest.tables["dirty"] = [
        {
            "profile": name,
            "interval": at,
            "pages_written": 10 * at,
            "regions_written": at,
            "pages_in_regions": 512 * at,
            "dirty_bits_4k": 9 * at,
            "dirty_bits_2m": number,
            "pml_entries": None,
            "pml_exits": None,
            "harvests": 1,
            "harvest_pages": 11 * at,
            "harvest_written": 10 * at,
            "harvest_demotions": at % 2,
            "harvest_invalidations": at,
            "harvest_ipis": at * number,
            "refaults": 3 * number,
            "repromotions": 0,
        }
        for number, name in enumerate(profiles)
        for at in range(guest.intervals)
    ]
    guest.tables["writers"] = [
        {
            "interval": at,
            "writer": who,
            "vcpu": vcpu,
            "device": device,
            "pages_written": 5 * at + (vcpu or 0),
            "mib_per_second": 1.0,
        }
        for at in range(guest.intervals)
        for who, vcpu, device in WRITERS
    ]
    guest.tables["dirty_rate"] = [
        {
            "writer": who,
            "vcpu": vcpu,
            "device": device,
            "intervals": guest.intervals,
            **dict.fromkeys(_RATES, 1.5),
        }
        for who, vcpu, device in (("all", None, ""), *WRITERS)
    ]
    guest.tables["migrations"] = [
        {
            "page_bytes": size,
            "gbit_per_second": speed,
            "downtime_target_s": 0.3,
            "converges": speed > 1,
            "verdict": "diverges" if speed == 1 else "converges",
            "rounds": 3,
            "total_s": 2.5 / speed,
            "downtime_s": 0.4 / speed,
            "sent_bytes": 2 * MEMORY,
            "trace_lengths": 0.5,
            "smallest_gbit_per_second": 1.6,
            "failed_round": 2,
            "failed_bytes": 5 * MIB,
            "lost_bytes": 4 * MIB,
            "retry_bytes": 6 * MIB,
        }
        for speed in (1.0, 2.5, 10.0, 25.0, 100.0)
        for size in (4096, 2 * MIB)
    ]
    guest.tables["migration_rounds"] = [
        {
            "page_bytes": size,
            "gbit_per_second": speed,
            "round": number,
            "paused": number == 3,
            "start_s": 0.0,
            "duration_s": 0.1,
            "sent_bytes": round(MEMORY / (1 + number * speed)),
            "dirtied_bytes": 4096,
        }
        for speed in (1.0, 2.5, 10.0, 25.0, 100.0)
        for size in (4096, 2 * MIB)
        for number in range(4)
    ]
    guest.tables["working_set"] = [
        {
            "kind": kind,
            "window_intervals": window,
            "window_s": float(window),
            "windows": 1,
            "mean_bytes": 1.0,
            **{f"p{of}_bytes": (1 + of) * window * MIB // 100 for of in (0, 25, 50, 75, 100)},
        }
        for kind in ("touched", "written")
        for window in (1, 2, 4, 8)
    ]
    guest.tables["idle_age"] = [
        {"age_intervals": age, "idle_s": float(age), "pages": 512, "pages_written": 100, "bytes": 2 * MIB}
        for age in range(8)
    ] + [{"age_intervals": None, "idle_s": None, "pages": 12288, "pages_written": 0, "bytes": 48 * MIB}]
    guest.tables["miss_ratio"] = [
        {
            "method": method,
            "memory_bytes": size * MIB,
            "miss_ratio": 1e-3 / size,
            "error": error / size,
            "sampling_rate": rate,
            "accesses": 800,
        }
        for method, error, rate in (("intervals", 1e-4, 1.0), ("shards", 3e-5, 0.125))
        for size in (1, 2, 4, 8, 16, 32)
    ]


_RATES = (
    "mean_mib_per_second",
    "variance",
    *(f"p{of}_mib_per_second" for of in (0, 25, 50, 75, 100)),
)


def write_run(
    folder: Path, guests: Iterable[MadeGuest], profiles: Sequence[str] = ("haswell", "nehalem")
) -> Path:
    """Write a run of made guests and return its folder."""
    (folder / TABLES_FOLDER).mkdir(parents=True)
    guests = list(guests)
    for guest in guests:
        if "summary" not in guest.tables:
            counters(guest, profiles)
    for table in TABLES:
        writer = TableWriter(folder / TABLES_FOLDER, table)
        for guest in guests:
            writer.write(_columns(table.name, guest.tables.get(table.name, []), guest.name))
        writer.close()
    write_run_file(folder, _about(guests, profiles))
    return folder


def _columns(table: str, rows: list[Row], guest: str) -> Mapping[str, list[Any]]:
    empty = {"string": "", "int64": 0, "uint64": 0, "bool": False, "double": None}
    filled = [{"guest": guest, **row} for row in rows]
    return {
        column.name: [row.get(column.name, empty[column.type]) for row in filled]
        for column in BY_NAME[table].columns
    }


def _about(guests: Sequence[MadeGuest], profiles: Sequence[str]) -> dict[str, Any]:
    return {
        "eptreplay": "0",
        "options": {
            "policy": "plain",
            "every": None,
            "intervals": 8,
            "page_accesses": True,
            "on_bad_rows": "fail",
        },
        "guests": [
            {
                "name": guest.name,
                "slug": slug(guest.name),
                "files": [],
                "rows": 800,
                "vcpus": 2,
                "time_unit": "ns",
                "memory_pages": MEMORY // 4096,
                "segments": [{"gpa": 0, "bytes": MEMORY, "kind": "ram"}],
                "about": {},
                "bad_rows": {},
            }
            for guest in guests
        ],
        "failed": [],
        "profiles": [
            {
                "name": name,
                "slug": slug(name),
                "title": f"a CPU called {name}",
                "vendor": "intel",
                "entries": "PT_EPT",
                "flags": [],
                "assumptions": [],
                "costs": {},
            }
            for name in profiles
        ],
    }
