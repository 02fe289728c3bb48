"""What a guest's page shows of a host of limited memory: IPIs by cause, memory, swapping, candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from tests.report.runs import MadeGuest, write_run

from eptreplay.report.costs.costs import Assumptions
from eptreplay.report.read.run import Frames, Guest, open_run
from eptreplay.report.sections import sections
from eptreplay.report.sections.parts import Context, Files, Part

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.report.sections.parts import Grid

PROFILES = ("haswell", "zen2")
MIB = 1 << 20


class MadeFrames(Frames):
    """The tables of a run, and some more."""

    def __init__(self, folder: Path, more: dict[str, list[dict[str, Any]]]) -> None:
        super().__init__(folder)
        self._more = {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in more.items()}

    def of(self, name: str, guest: str) -> pl.DataFrame:
        return self._more[name] if name in self._more else super().of(name, guest)


def candidate(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - columns of any type
    usual = {
        "guest": "g",
        "profile": "haswell",
        "gpa": 0,
        "bytes": MIB,
        "queue": "inactive",
        "position": 0,
        "age_scans": 5,
        "age_time": 5_000_000_000,
        "used": False,
        "dirty": False,
        "superpage": False,
        "excluded": "",
        "writes": 0,
        "demotions": 0,
        "ipis": 2,
        "cost_ns": 0,
    }
    return usual | changes


IPIS = dict.fromkeys(("generations", "ipis", "forced_exits", "invepts", "x86_ipis", "ipis_saved"), 0)
TABLES: dict[str, list[dict[str, Any]]] = {
    "ipis": [
        {"guest": "g", "profile": "haswell", "cause": "harvest", **IPIS, "ipis": 12, "generations": 6},
        {"guest": "g", "profile": "zen2", "cause": "harvest", **IPIS, "x86_ipis": 12},
    ],
    "invalidations": [
        {"guest": "g", "profile": name, "cause": "aging", "kind": "page", "count": count}
        for name, count in (("haswell", 7), ("zen2", 8))
    ],
    "host_memory": [
        {
            "guest": "g",
            "profile": name,
            "interval": at,
            "resident": 256 * at,
            "free": 512,
            **dict.fromkeys(
                ("active", "inactive", "wired", "swap_copies", "reservations_broken", "promotions_lost"), 0
            ),
        }
        for name in PROFILES
        for at in range(8)
    ],
    "swap_activity": [
        {
            "guest": "g",
            "profile": name,
            "interval": 3,
            "swap_ins": 5,
            "laundered": 6,
            **dict.fromkeys(
                ("cached", "freed_clean", "deactivated", "reactivated", "zero_fills", "soft_faults"), 0
            ),
            **dict.fromkeys(("pageouts", "read_ns", "write_ns"), 0),
        }
        for name in PROFILES
    ],
    "swap_candidates": [
        candidate(queue="active", gpa=7 << 30),
        candidate(position=9, gpa=1 << 30, dirty=True, writes=3, cost_ns=300_000),
        candidate(position=2, gpa=2 << 30, used=True),
        candidate(queue="none", position=None, excluded="wired", bytes=4 * MIB),
    ],
    "cold_age": [
        {
            "guest": "g",
            "profile": name,
            "age_scans": age,
            "age_time": age * 1_000_000_000,
            "pages": 256 * (4 - age),
            "dirty_pages": 0,
            "bytes": MIB * (4 - age),
        }
        for name in PROFILES
        for age in range(5)
    ],
}


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Part]:
    run = open_run(write_run(tmp_path / "run", [MadeGuest("g")], PROFILES))
    (plain,) = run.guests()
    guest = Guest(plain.about, list(PROFILES), MadeFrames(tmp_path / "run", TABLES))
    context = Context(guest, Files(guest), run.profiles, Assumptions())
    return {section.id: part for section, part in sections(context)}


def cells(grid: Grid) -> dict[tuple[str, ...], list[str]]:
    return {(head.text,): [cell.text for cell in row] for head, row in grid.rows}


def test_causes_are_told_event_by_event_for_every_profile(parts: dict[str, Part]) -> None:
    (grid,) = parts["causes-ipis"].grids
    found = [(head.text, *(cell.text for cell in row)) for head, row in grid.rows]
    assert found == [
        ("aging", "invalidations, page", "7", "8"),
        ("harvest", "new generations", "6", "0"),
        ("harvest", "IPIs", "12", "0"),
        ("harvest", "IPIs, x86 format", "0", "12"),
    ]


def test_memory_is_a_level_in_mib_and_swapping_a_count(parts: dict[str, Part]) -> None:
    charts = {chart.caption.id: chart for chart in parts["host"].charts}
    resident, swapped = charts["host-resident"], charts["host-swap_ins"]
    assert (resident.caption.unit, resident.lines[0].values) == ("MiB", list(range(8)))
    assert (swapped.caption.unit, swapped.lines[0].values) == ("pages per interval", [0, 0, 0, 5, 0, 0, 0, 0])
    assert "host-wired" in {chart.caption.id for chart in parts["host"].flat()}


def test_what_could_be_taken_leaves_out_what_is_wired(parts: dict[str, Part]) -> None:
    totals, _ = parts["swap"].grids
    found = cells(totals)
    assert found["could be taken",] == ["3 MiB", "0 B"]
    assert found["of that, dirty",] == ["1 MiB", "0 B"]
    assert found["of that, used lately",] == ["1 MiB", "0 B"]
    assert found["excluded",] == ["4 MiB", "0 B"]
    assert found["predicted writes",] == ["3", "0"]
    assert found["assumed time of the writes",] == ["300 us", "0 s"]


def test_the_inactive_queue_comes_first_and_wired_pages_never(parts: dict[str, Part]) -> None:
    _, first = parts["swap"].grids
    assert [row[0].text for _, row in first.rows] == ["2", "1", "7"]
    assert [row[4].text for _, row in first.rows] == ["5 s", "5 s", "5 s"]


def test_cold_memory_falls_with_age(parts: dict[str, Part]) -> None:
    (chart,) = parts["swap"].charts
    assert chart.lines[0].names == list(PROFILES)
    assert chart.lines[0].values == [4, 3, 2, 1, 0]
    assert chart.x.labels == ["0 s", "1 s", "2 s", "3 s", "4 s"]
    assert chart.x.at == [0, 250, 500, 750, 1000]
