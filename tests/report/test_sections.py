"""The sections of a guest's page: numbers of the tables in the charts that show them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from tests.report.downloads import text_of
from tests.report.runs import MadeGuest, analysis, counters, write_run

from eptreplay.report.answers.need import needed
from eptreplay.report.costs.costs import Assumptions
from eptreplay.report.read.run import open_run
from eptreplay.report.sections import SECTIONS, sections
from eptreplay.report.sections.heat import counts_by_stretch
from eptreplay.report.sections.memory import age_edges
from eptreplay.report.sections.others import first_rows
from eptreplay.report.sections.parts import Context, Files, Part
from eptreplay.tables.schema import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eptreplay.report.charts.chart import Caption, Chart
from eptreplay.report.sections.parts import Grid

PROFILES = ("haswell", "nehalem")
HOST = {"ipis", "invalidations", "host_memory", "swap_activity", "swap_candidates", "cold_age"}
"""Tables of runs on a host of limited memory: tests/report/test_host_sections.py."""


def parts_of(folder: Path, made: MadeGuest | None = None) -> dict[str, Part]:
    if made is None:
        made = MadeGuest("g")
        analysis(made, PROFILES)
    run = open_run(write_run(folder / "run", [made], PROFILES))
    (guest,) = run.guests()
    return {
        section.id: part
        for section, part in sections(Context(guest, Files(guest), run.profiles, Assumptions()))
    }


def chart(part: Part, ident: str) -> Chart:
    (found,) = (chart for chart in part.charts if chart.caption.id == ident)
    return found


def grid(part: Part, ident: str) -> Grid:
    (found,) = (grid for grid in part.grids if grid.id == ident)
    return found


def texts(rows: Sequence[object]) -> list[str]:
    return [str(getattr(row, "text", row)) for row in rows]


def test_sections_rest_on_tables_that_are_defined() -> None:
    for section in SECTIONS:
        assert set(section.needs + section.uses) <= BY_NAME.keys() | HOST
    assert len({section.id for section in SECTIONS}) == len(SECTIONS)


def test_every_chart_of_a_guest_has_an_id_of_its_own_and_its_table(tmp_path: Path) -> None:
    parts = parts_of(tmp_path)
    drawn: list[Caption | Grid] = []
    for part in parts.values():
        drawn += [one.caption for one in part.charts]
        drawn += [one.caption for one in part.maps]
        drawn += part.grids
    assert len({one.id for one in drawn}) == len(drawn)
    for one in drawn:
        assert text_of(one.csv).count("\n") > 1, one.id


def test_exits_over_time_are_those_of_the_intervals(tmp_path: Path) -> None:
    found = chart(parts_of(tmp_path)["exits-ipis"], "exits")
    waves = [(at * 7 + 3) % 11 for at in range(8)]
    assert [line.values for line in found.lines] == [
        [2 * wave for wave in waves],
        [3 * wave for wave in waves],
    ]


def test_superpages_standing_are_what_was_made_less_what_was_split(tmp_path: Path) -> None:
    found = chart(parts_of(tmp_path)["superpages-all"], "superpages")
    promoted = np.cumsum([(at * 7 + 3) % 11 % 2 for at in range(8)])
    assert found.lines[0].values == promoted.tolist()


def test_exits_of_a_cause_add_up_over_kinds(tmp_path: Path) -> None:
    made = MadeGuest("g")
    made.tables["fault_intervals"] = [
        {"profile": "nehalem", "interval": 2, "kind": kind, "cause": "accessed", "count": 5}
        for kind in ("read", "fetch")
    ]
    part = parts_of(tmp_path, made)["exits-ipis"]
    first, second = chart(part, "cause-accessed").lines
    assert first.values == [0] * 8
    assert second.values == [0, 0, 10, 0, 0, 0, 0, 0]
    assert chart(part, "cause-unmapped").empty


def test_causes_are_told_for_every_profile(tmp_path: Path) -> None:
    (row,) = grid(parts_of(tmp_path)["exits-ipis"], "causes").rows
    assert row[0].text == "read"
    assert texts(row[1]) == ["first_use", "vm_fault", "40", "40"]


def test_harvests_are_shown_only_where_there_were_any(tmp_path: Path) -> None:
    with_harvest = parts_of(tmp_path / "with")["dirty"]
    truth, found = chart(with_harvest, "harvest_pages").lines
    assert (truth.names, truth.values) == (["written since the harvest before"], [10 * at for at in range(8)])
    assert (found.names, found.values) == (list(PROFILES), [11 * at for at in range(8)])
    made = MadeGuest("g")
    analysis(made, PROFILES)
    for row in made.tables["dirty"]:
        row["harvests"] = 0
    without = parts_of(tmp_path / "without", made)["dirty"]
    assert "harvest_pages" not in {one.caption.id for one in without.charts}
    assert "--policy harvest" in without.texts[0]


def test_a_log_that_no_profile_has_is_not_drawn(tmp_path: Path) -> None:
    part = parts_of(tmp_path)["dirty"]
    assert "pml_entries" not in {one.caption.id for one in part.charts}


def test_a_log_that_one_profile_has_is_drawn_for_that_one(tmp_path: Path) -> None:
    made = MadeGuest("g")
    analysis(made, PROFILES)
    for row in made.tables["dirty"]:
        if row["profile"] == "nehalem":
            row["pml_entries"] = row["interval"]
    (line,) = chart(parts_of(tmp_path, made)["dirty"], "pml_entries").lines
    assert (line.names, line.profiles, line.values) == (["nehalem"], [1], list(range(8)))


def test_the_dirty_rate_is_told_by_writer_in_mib_a_second(tmp_path: Path) -> None:
    found = chart(parts_of(tmp_path)["dirty"], "dirty-rate")
    assert found.caption.unit == "MiB/s"
    by_name = {name: line.values for line in found.lines for name in line.names}
    assert by_name.keys() == {"all", "vCPU 0", "vCPU 1", "device nic (DMA)"}
    assert by_name["vCPU 1"][2] == round(11 * 4096 / (1 << 20), 7)


def test_verdicts_have_their_colour(tmp_path: Path) -> None:
    rows = grid(parts_of(tmp_path)["migration"], "migrations").rows
    assert [row[0].text for row in rows[:3]] == ["1 Gbit/s", "1 Gbit/s", "2.5 Gbit/s"]
    assert [(row[1][1].text, row[1][1].tone) for row in rows[1:3]] == [
        ("diverges", "no"),
        ("converges", "yes"),
    ]


def test_cold_memory_adds_up_from_the_oldest(tmp_path: Path) -> None:
    part = parts_of(tmp_path)["cold"]
    histogram, older = (chart(part, name) for name in ("idle-histogram", "idle-memory"))
    assert histogram.x.labels == ["0 s", "1 s", "2 s", "4 s"]
    assert histogram.lines[0].values == [2, 2, 4, 8]
    assert older.lines[0].values == [16, 14, 12, 8]


def test_ages_are_powers_of_two_below_the_length_of_the_trace() -> None:
    assert age_edges(1) == [0]
    assert age_edges(2) == [0, 1]
    assert age_edges(9) == [0, 1, 2, 4, 8]


def curve(*points: tuple[int, float, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(pages * 4096, ratio, error, "exact") for pages, ratio, error in points],
        ["memory_bytes", "miss_ratio", "error", "method"],
        orient="row",
    )


def test_memory_needed_is_where_few_accesses_miss_beyond_first_touches() -> None:
    exact = curve((1, 0.5, 0), (256, 1.1e-5, 0), (512, 1.05e-5, 0), (1024, 1e-5, 0))
    assert needed({"exact": exact}) == (1 << 20, 1 << 20)
    assert needed({"exact": exact}, 1e-7) == (4 << 20, 4 << 20)
    assert str(needed({"exact": exact})) == "1 MiB"


def test_memory_needed_lies_between_the_narrowest_bounds_of_all_curves() -> None:
    sample = curve((64, 0.5, 0.1), (256, 1.3e-5, 5e-6), (512, 1.2e-5, 5e-6), (1024, 1e-5, 0))
    bounds = curve((512, 3e-5, 2.5e-5), (768, 1e-5, 1e-6), (1024, 1e-5, 0))
    assert str(needed({"shards": sample})) == "1 to 4 MiB"
    assert str(needed({"shards": sample, "intervals": bounds})) == "1 to 3 MiB"
    assert str(needed({"intervals": bounds})) == "at most 3 MiB"


def test_heat_maps_count_by_address_and_time(tmp_path: Path) -> None:
    made = MadeGuest("g")
    analysis(made, PROFILES)
    (guest,) = open_run(write_run(tmp_path / "run", [made], PROFILES)).guests()
    counts = counts_by_stretch(guest, "pages_read")
    assert counts.shape == (8, 64)
    assert counts.sum() == sum(row["pages_read"] for row in made.tables["heatmap"])
    row = made.tables["heatmap"][30]
    assert counts[row["interval"], row["gpa_start"] >> 20] == row["pages_read"]


def test_steps_of_several_intervals_show_the_most_of_them(tmp_path: Path) -> None:
    made = MadeGuest("g", intervals=2048)
    made.tables["heatmap"] = [
        {"interval": at, "gpa_start": 0, "bytes": 1 << 20, "pages_touched": 1 + at} for at in range(4)
    ]
    (guest,) = open_run(write_run(tmp_path / "run", [made], PROFILES)).guests()
    assert counts_by_stretch(guest, "pages_touched")[:3, 0].tolist() == [2, 4, 0]


def test_csv_files_have_every_interval_with_its_times_and_units(tmp_path: Path) -> None:
    text = text_of(chart(parts_of(tmp_path)["exits-ipis"], "exits").caption.csv)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == [
        "interval",
        "start_s",
        "end_s",
        "haswell [exits per interval]",
        "nehalem [exits per interval]",
    ]
    assert [row["start_s"] for row in rows] == [str(at) for at in range(8)]


def test_a_table_that_no_section_draws_is_shown_by_its_first_rows(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    made.tables["faults"] = [
        {"profile": "haswell", "kind": "read", "cause": "=x", "resolution": "", "count": 1000 + at}
        for at in range(30)
    ]
    run = open_run(write_run(tmp_path / "run", [made], PROFILES))
    (guest,) = run.guests()
    context = Context(guest, Files(guest), run.profiles, Assumptions())
    (shown,) = first_rows(context, [BY_NAME["faults"]]).grids
    assert "The first 20 of 30 rows" in shown.about
    assert texts(shown.heads) == ["profile", "kind", "cause", "resolution", "count, exits"]
    assert shown.rows[19][0].text == "haswell"
    assert texts(shown.rows[19][1]) == ["read", "=x", "", "1,019"]
    assert len(text_of(shown.csv).splitlines()) == 31


def test_what_devices_wrote_is_drawn_and_told_apart_from_what_dirty_bits_show(tmp_path: Path) -> None:
    made = MadeGuest("g")
    analysis(made, PROFILES)
    for row in made.tables["dirty"]:
        row["pages_invisible"] = row["interval"]
    part = parts_of(tmp_path, made)["dirty"]
    assert part.texts[0].startswith(
        "Devices wrote pages that nobody else wrote in the same interval, 112 KiB"
    )
    lines = {line.names[0]: line.values for line in chart(part, "dirtied").lines}
    assert lines["at 4 KB"] == [10 * at for at in range(8)]
    assert lines["seen by dirty bits, at 4 KB"] == [9 * at for at in range(8)]


def wired_guest(reason: str, *devices: str) -> MadeGuest:
    made = MadeGuest("g")
    analysis(made, PROFILES)
    made.tables["wiring"] = [
        {"profile": name, "wired_pages": 256, "reason": reason, "host_accesses": 7} for name in PROFILES
    ]
    made.tables["passthrough"] = [
        {
            "profile": name,
            "device": device,
            "bar_bytes": 8192,
            "domain_pages": 256,
            "bar_reads": 5,
            "bar_faults": 1,
            "dma_writes": 9,
            "invisible_pages": 3,
        }
        for name in PROFILES
        for device in devices
    ]
    return made


def test_a_guest_with_devices_is_told_why_it_has_no_swap_candidates(tmp_path: Path) -> None:
    part = parts_of(tmp_path, wired_guest("passthrough", "nic", "gpu"))["wired"]
    assert part.texts[0].startswith(
        "All of its memory, 1 MiB, is wired for the passthrough devices nic and gpu"
    )
    assert "no swap candidates" in part.texts[0]
    assert "9 pages written, 12 KiB of them distinct" in part.texts[1]
    assert texts([head for head, _ in grid(part, "passthrough").rows]) == ["nic", "gpu"]
    assert texts(grid(part, "passthrough").rows[0][1]) == ["8 KiB", "1 MiB", "5", "0", "0", "1", "140 pages"]
    (line,) = chart(part, "other-writers").lines
    assert (line.names, line.values) == (["device nic (DMA)"], [5 * at for at in range(8)])


def test_wiring_without_devices_names_its_reason_and_leaves_out_what_never_happened(tmp_path: Path) -> None:
    part = parts_of(tmp_path, wired_guest("events"))["wired"]
    assert part.texts == ["1 MiB are wired by events of the trace: none of that is a swap candidate."]
    (shown,) = part.grids
    assert texts([head for head, _ in shown.rows]) == [
        "wired at the end",
        "pages touched by the hypervisor's process",
    ]


def test_a_guest_that_the_host_left_alone_has_no_such_section(tmp_path: Path) -> None:
    assert "wired" not in parts_of(tmp_path)
