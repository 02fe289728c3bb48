"""The first screen: every sentence follows from the numbers by a rule of docs/reports.md."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.command_line import eptreplay
from tests.report.runs import MadeGuest, analysis, counters, write_run

from eptreplay.profiles import SUPERPAGES_OF, cost_parameters
from eptreplay.report.answers import answers
from eptreplay.report.answers.measures import compare, cost_cells
from eptreplay.report.answers.standing import Standing, standings, total
from eptreplay.report.costs.cost_terms import Estimate, Item, sum_of_differences
from eptreplay.report.costs.costs import Assumptions, Range
from eptreplay.report.pages.html import render
from eptreplay.report.pages.index import Line, brief, fleet_answers
from eptreplay.report.read.numbers import listed, points
from eptreplay.report.read.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.report.read.run import Guest

PROFILES = ("haswell", "nehalem")


def guest_of(folder: Path, made: MadeGuest) -> Guest:
    (guest,) = open_run(write_run(folder / "run", [made], PROFILES)).guests()
    return guest


def standings_of(guest: Guest) -> list[Standing]:
    return standings(guest, [{"name": name} for name in PROFILES], Assumptions())


def aged(ages: dict[float, int], **changes: Any) -> MadeGuest:  # noqa: ANN401 - fields of any type
    made = MadeGuest("g", **changes)
    made.tables["idle_age"] = [
        {
            "age_intervals": round(age),
            "idle_s": age,
            "pages": pages,
            "pages_written": 0,
            "bytes": pages * 4096,
        }
        for age, pages in ages.items()
    ]
    return made


def test_the_cost_is_exits_ipis_and_a_share_of_run_time(tmp_path: Path) -> None:
    guest = guest_of(tmp_path, MadeGuest("g"))
    found = standings_of(guest)
    row = guest.summary["haswell"]
    assert found[0].exits == row["vm_faults_r"] == row["traps"]
    assert found[0].seconds == pytest.approx(found[0].exits * 5500 / 2.5e9)
    assert found[0].share == pytest.approx(found[0].seconds / (8 * 2))
    answer = answers.cost_answer(guest, found)
    assert answer.figure == f"{found[0].exits} exits"
    assert "under 0.01 % of its run time" in answer.sentence


def test_a_guest_that_did_nothing_cost_nothing(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    for row in made.tables["summary"]:
        row.update(rows=0, reads=0, writes=0, fetches=0)
    guest = guest_of(tmp_path, made)
    assert answers.cost_answer(guest, standings_of(guest)).figure == "nothing"


def standing(profile: str, seconds: float, exits: int = 1, **changes: Any) -> Standing:  # noqa: ANN401 - fields of any type
    return Standing(profile, exits, 0, seconds, None, **changes)


def test_another_cpu_is_best_to_worst_by_estimated_cost() -> None:
    answer = answers.profile_answer([standing("a", 2, 20), standing("b", 1, 10), standing("c", 3, 30)])
    assert answer.figure == "+200.0 % from best to worst"
    assert answer.sentence.startswith("b is best and c worst")
    assert "30 exits and 0 IPIs instead of 10 and 0" in answer.sentence


def test_one_profile_or_equal_ones_leave_nothing_to_compare() -> None:
    assert answers.profile_answer([standing("a", 2)]).figure == "not asked"
    assert answers.profile_answer([standing("a", 2), standing("b", 2)]).figure == "nothing"


def test_compared_runs_are_told_by_the_profile_that_changed_most() -> None:
    found = [
        standing("a @ before", 1, 10, compared=True),
        standing("a @ after", 1.5, 15, compared=True),
        standing("b @ before", 2, 20, base=2, compared=True),
        standing("b @ after", 5, 50, base=2, compared=True),
    ]
    answer = answers.runs_answer(found)
    assert answer.figure == "+150.0 % of estimated cost"
    assert "From b @ before to b @ after" in answer.sentence


def test_cold_is_1_10_and_60_seconds_as_far_as_half_the_trace_goes(tmp_path: Path) -> None:
    guest = guest_of(tmp_path, aged({0: 1, 1: 2, 5: 4, 10: 8, 60: 16}, seconds=120.0, intervals=120))
    assert answers.cold(guest) == [("1 s", 30), ("10 s", 24), ("60 s", 16)]


def test_a_short_trace_is_cold_by_shares_of_its_length(tmp_path: Path) -> None:
    guest = guest_of(tmp_path, aged({0.0: 1, 0.1: 2, 0.25: 4, 0.5: 8}, seconds=1.0, intervals=100))
    assert answers.cold(guest) == [("100 ms", 14), ("250 ms", 12), ("500 ms", 8)]


def test_a_trace_without_times_is_cold_by_intervals(tmp_path: Path) -> None:
    made = aged({0: 1, 10: 2, 25: 4, 50: 8}, seconds=None, intervals=100)
    for row in made.tables["idle_age"]:
        row["idle_s"] = None
    assert answers.cold(guest_of(tmp_path, made)) == [
        ("10 intervals", 14),
        ("25 intervals", 12),
        ("50 intervals", 8),
    ]


def test_too_few_intervals_or_no_table_say_nothing_of_cold_pages(tmp_path: Path) -> None:
    few = guest_of(tmp_path / "few", aged({0.0: 1}, seconds=0.5, intervals=2))
    assert answers.cold(few) == []
    assert "too few intervals" in answers.reclaim_answer(few, []).sentence
    none = guest_of(tmp_path / "none", MadeGuest("g"))
    assert "does not say" in answers.reclaim_answer(none, answers.cold(none)).sentence


def test_what_can_be_reclaimed_is_a_size_at_an_age(tmp_path: Path) -> None:
    guest = guest_of(tmp_path, aged({0: 512, 2: 256, 4: 256}))
    answer = answers.reclaim_answer(guest, answers.cold(guest))
    assert answer.figure == "2 MiB cold for 1 s"
    assert (
        "Of the 16 MiB it touched, idle at the end of the trace: 2 MiB for 1 s or longer." in answer.sentence
    )
    assert "48 MiB of its 64 MiB was never touched." in answer.sentence


def passed_through(made: MadeGuest, *names: str) -> MadeGuest:
    made.tables["passthrough"] = [
        {"profile": profile, "device": name} for profile in PROFILES for name in names
    ]
    return made


def test_of_a_guest_with_a_device_nothing_can_be_reclaimed(tmp_path: Path) -> None:
    guest = guest_of(tmp_path, passed_through(aged({0: 512, 2: 256}), "nic", "gpu"))
    answer = answers.reclaim_answer(guest, answers.cold(guest))
    assert (answer.figure, answer.anchor) == ("nothing", "wired")
    assert answer.sentence.startswith(
        "All of its memory is wired for the passthrough devices nic and gpu. Without: of the 16 MiB it touched"
    )


def test_a_guest_with_a_device_does_not_migrate_with_it(tmp_path: Path) -> None:
    made = MadeGuest("g")
    analysis(made, PROFILES)
    answer = answers.migrate_answer(guest_of(tmp_path, passed_through(made, "nic")))
    assert (answer.figure, answer.tone) == ("not with a device", "bad")
    assert answer.sentence.startswith("The passthrough device nic would have to go first")
    assert "Without: over 2.5 Gbit/s pre-copy converges" in answer.sentence


def test_memory_needed_is_told_with_what_it_rests_on(tmp_path: Path) -> None:
    made = MadeGuest("g")
    analysis(made, PROFILES)
    answer = answers.need_answer(guest_of(tmp_path, made))
    assert answer.figure == "32 MiB"
    assert "By a sample of about 512 pages, 1 in 8; error: two standard errors." in answer.sentence
    without = answers.need_answer(guest_of(tmp_path / "without", MadeGuest("g")))
    assert without.figure == "not known"


def migrating(tmp_path: Path, **changes: Any) -> answers.Answer:  # noqa: ANN401 - fields of any type
    made = MadeGuest("g")
    analysis(made, PROFILES)
    for row in made.tables["migrations"]:
        row.update(changes)
    return answers.migrate_answer(guest_of(tmp_path, made))


def test_migration_is_the_slowest_link_of_the_sweep_that_converges(tmp_path: Path) -> None:
    answer = migrating(tmp_path)
    assert (answer.figure, answer.tone) == ("yes, at 2.5 Gbit/s", "good")
    assert answer.sentence == (
        "Over 2.5 Gbit/s pre-copy converges after 3 rounds: 1 s in all, 160 ms of it paused (allowed: 300 ms). "
        "The smallest link that converges has 1.6 Gbit/s."
    )


def test_a_migration_that_outlasts_its_trace_says_so(tmp_path: Path) -> None:
    assert "if it goes on as in its trace" in migrating(tmp_path, verdict="repeats").sentence


def test_a_guest_that_converges_nowhere_cannot_migrate(tmp_path: Path) -> None:
    answer = migrating(tmp_path, converges=False, verdict="diverges", smallest_gbit_per_second=None)
    assert (answer.figure, answer.tone) == ("no", "bad")
    assert "1, 2.5, 10, 25 and 100 Gbit/s" in answer.sentence


def test_without_an_estimate_the_reason_is_told(tmp_path: Path) -> None:
    timed = answers.migrate_answer(guest_of(tmp_path / "timed", MadeGuest("g")))
    assert (timed.figure, timed.sentence) == (
        "not estimated",
        "This run has no estimate; replay again to have one.",
    )
    untimed = answers.migrate_answer(guest_of(tmp_path / "untimed", MadeGuest("g", seconds=None)))
    assert "does not know when its trace begins and ends" in untimed.sentence


def test_several_guests_together_are_sums() -> None:
    found = total([[standing("a", 1, 10)], [standing("a", 2, 20)]])
    assert (found[0].exits, found[0].seconds, found[0].share) == (30, 3, None)


def test_parts_are_listed_as_in_a_sentence() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def ranged(profile: str, seconds: float, low: float, high: float, **changes: Any) -> Standing:  # noqa: ANN401 - fields of any type
    """Return a profile whose exits cost so much, by one term whose cost may be anywhere between two ends."""
    cost = Range(seconds, low, high)
    item = Item("vm_fault", "read", 1, cost.times(1e6), cost)
    parameters = {name: replace(of, value=0, low=0, high=0) for name, of in cost_parameters().items()}
    parameters["clock_mhz"] = replace(parameters["clock_mhz"], value=1, low=1, high=1)
    parameters["vm_fault_cycles"] = replace(
        parameters["vm_fault_cycles"], value=seconds * 1e6, low=low * 1e6, high=high * 1e6
    )
    estimate = Estimate(profile, (item,), 100.0, Assumptions(parameters))
    return Standing(profile, 1, 0, seconds, seconds / 100, range=cost, estimates=(estimate,), **changes)


A, NEAR, FAR = ("a", 2, 1, 3), ("near", 2.5, 2, 4), ("far", 9, 8, 10)


def test_a_difference_whose_range_holds_0_is_none() -> None:
    answer = answers.profile_answer([ranged(*A), ranged(*NEAR)])
    assert answer.figure == "cannot be told apart"
    assert "a and near cannot be told apart: the difference is +500 ms (-1 s to +3 s)." in answer.sentence


def test_a_difference_without_0_is_told_in_points_of_run_time_with_those_too_near() -> None:
    answer = answers.profile_answer([ranged(*A), ranged(*NEAR), ranged(*FAR)])
    assert answer.figure == "+7 points from best to worst"
    assert answer.sentence.startswith("a is best and far worst")
    assert answer.sentence.endswith(" near cannot be told apart from a.")


def test_ties_are_named() -> None:
    found = [standing("a", 1), standing("b", 2), standing("c", 1), standing("d", 2)]
    assert answers.profile_answer(found).sentence.startswith("a and c are best and b and d worst")


@pytest.mark.parametrize(
    ("after", "figure"),
    [(("a @ 2", 2.5, 2, 4), "cannot be told apart"), (("a @ 2", 9, 8, 10), "+7 points of estimated cost")],
)
def test_runs_that_cannot_be_told_apart_are_not_told_apart(
    after: tuple[str, float, float, float], figure: str
) -> None:
    found = [ranged("a @ 1", 2, 1, 3, compared=True), ranged(*after, compared=True)]
    assert answers.runs_answer(found).figure == figure


def test_of_compared_runs_those_that_are_apart_are_told_of() -> None:
    found = [
        ranged("a @ 1", 5, 1, 100, compared=True),
        ranged("a @ 2", 50, 1, 100, compared=True),
        ranged("b @ 1", 1, 1, 1, compared=True, base=2),
        ranged("b @ 2", 2, 2, 2, compared=True, base=2),
    ]
    assert answers.runs_answer(found).sentence.startswith("From b @ 1 to b @ 2, where it is most")


def test_the_cells_of_costs_say_the_same() -> None:
    cells = cost_cells([ranged(*A), ranged(*NEAR), ranged(*FAR), ranged("b", 2, 1, 3, base=3)])
    assert [cell["change"] for cell in cells] == ["", "cannot be told apart", "+7 points", ""]


def test_differences_of_several_guests_add_up_by_parameter() -> None:
    """What one guest has more of, another has less of: with one parameter for both, nothing is left."""

    def pair(of: float) -> tuple[Estimate, Estimate]:
        cycles = {name: Range(0, 0, 0) for name in ("a", "b")}
        cycles["a" if of > 0 else "b"] = Range(5, 1, 9)
        made = [
            Estimate(name, (Item("vm_fault", "read", int(cost.value), cost, cost),), None, Assumptions())
            for name, cost in cycles.items()
        ]
        return made[0], made[1]

    found = sum_of_differences([pair(1), pair(-1)])
    assert (found.low, found.value, found.high) == (0, 0, 0)
    assert sum_of_differences([pair(1)]).high < 0


def test_a_change_of_a_share_is_told_in_points() -> None:
    assert points(0.005, 0.008) == "+0.3 points"
    assert points(0.008, 0.005) == "-0.3 points"
    assert points(0.1, 0.1) == ""
    assert points(0.1, 0.10001) == "under 0.01 points more"
    assert points(0.10001, 0.1) == "under 0.01 points less"


def test_shares_of_compared_runs_are_of_the_first_ones_run_time(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    made.tables["summary"][1].update(last_time=4 * 10**9, superpage_pages=2048, pages_touched=8192)
    made.tables["summary"][0].update(superpage_pages=1024)
    guest = guest_of(tmp_path, made)
    found = standings(guest, [{"name": PROFILES[0]}, {"name": PROFILES[1], "base": 0}], Assumptions())
    assert found[1].share == pytest.approx(found[1].seconds / (8 * 2))
    shown = compare(guest.summary, [at._replace(base=0) for at in found])
    line = next(line for line in shown if line["name"] == "in superpages at the end")
    assert [cell["text"] for cell in line["cells"]] == ["25", "50"]
    assert line["cells"][1]["change"] == "+25 points"


def test_cold_memory_of_several_guests_adds_up_at_one_age(tmp_path: Path) -> None:
    long = aged({0.0: 512, 2.0: 256, 30.0: 256}, seconds=120.0, intervals=120)
    short = aged({0.0: 512, 0.2: 256, 0.4: 256}, seconds=1.0, intervals=20)
    short.name = "short"
    for made in (long, short):
        counters(made, PROFILES)
    run = open_run(write_run(tmp_path / "run", [long, short], PROFILES))
    lines = []
    for guest in run.guests():
        found = standings_of(guest)
        lines.append(Line(brief(guest), found, answers.answers(guest, found)))
    assert [line.guest.first_age for line in lines] == [1.0, 0.1]
    reclaim = fleet_answers(lines)[2]
    # 512 pages of either were idle for 100 ms; at 1 s it is none of the short one's.
    assert reclaim.figure == "4 MiB cold for 100 ms"
    assert "4 MiB had been idle for 100 ms or longer when their traces ended" in reclaim.sentence


def test_superpages_are_said_to_be_those_of_10_0_wherever_they_are_shown(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    folder = write_run(tmp_path / "run", [made], PROFILES)
    about = json.loads((folder / "run.json").read_text())
    for profile in about["profiles"]:
        profile["flags"] = ["PMAP_PDE_SUPERPAGE"]
    (folder / "run.json").write_text(json.dumps(about))
    render(folder)
    (guest,) = (folder / "guests").glob("*.html")
    for page in (folder / "index.html", guest):
        assert SUPERPAGES_OF in page.read_text()
    assert SUPERPAGES_OF in " ".join(eptreplay("summary", folder).out.split())
    assert SUPERPAGES_OF in " ".join(eptreplay("profiles", "list").out.split())
    assert SUPERPAGES_OF in " ".join(eptreplay("profiles", "show", "haswell").out.split())
    for other in ("zen2", "ept-ad-nosp"):
        assert SUPERPAGES_OF not in " ".join(eptreplay("profiles", "show", other).out.split())
