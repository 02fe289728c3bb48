"""From counts to time: assumptions, ranges, terms, and what two profiles differ by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.runs import SECOND, MadeGuest, counters, write_run

from eptreplay.errors import UsageError
from eptreplay.report.costs.cost_terms import TERMS, TOTAL, Estimate, Item, cost_rows, difference, estimates
from eptreplay.report.costs.cost_terms import _item as item
from eptreplay.report.costs.costs import (
    CLOCK,
    EXIT,
    EXIT_FACT,
    ZERO,
    Assumptions,
    Range,
    by_profile,
    described,
    exit_origin,
    parse_assumptions,
)
from eptreplay.report.read.run import open_run

if TYPE_CHECKING:
    from pathlib import Path

PROFILES = ("haswell", "zen2")
RECALLED: dict[str, Any] = {"costs": {EXIT_FACT: {"value": 1009, "status": "recalled"}}}
ROUND = (
    "exit_cycles=100..1000",
    "emulation_cycles=10..20..40",
    "vm_fault_cycles=200",
    "ipi_cycles=1..2..3",
    "interrupt_cycles=10",
    "invept_cycles=5..10",
    "shootdown_cycles=7",
    "sweep_page_cycles=2..4",
    "demotion_cycles=50",
    "pml_full_cycles=30",
    "walk_reference_cycles=1..3..9",
    "swap_read_us=10..30",
    "clock_mhz=1000..2000..4000",
)
CAUSE = dict.fromkeys(("generations", "ipis", "forced_exits", "invepts", "x86_ipis", "ipis_saved"), 0)


# ---- assumptions ---------------------------------------------------------------------------------


def test_assumptions_are_read_over_the_defaults() -> None:
    found = parse_assumptions(["ipi_cycles=3000", "clock_mhz=3200.5"])
    assert found.cost("ipi_cycles") == Range(3000, 3000, 3000)
    assert found.cost(CLOCK).value == 3200.5
    assert found.cost(EXIT) == Assumptions().cost(EXIT)
    assert found.given == {"ipi_cycles", "clock_mhz"}


def test_a_range_has_its_middle_or_a_value_of_its_own() -> None:
    assert parse_assumptions(["exit_cycles=1000..3000"]).cost(EXIT) == Range(2000, 1000, 3000)
    assert parse_assumptions(["exit_cycles=1000..1200..3000"]).cost(EXIT) == Range(1200, 1000, 3000)


@pytest.mark.parametrize(
    "text",
    [
        "ipi_cycles",
        "ipis=3",
        "ipi_cycles=",
        "ipi_cycles=-1",
        "clock_mhz=0",
        "clock_mhz=nan",
        "ipi_cycles=3..1",
        "ipi_cycles=1..3..2",
        "ipi_cycles=1..",
        "ipi_cycles=1..2..3..4",
        "ipi_cycles=1e999",
    ],
)
def test_what_is_no_assumption_is_told_with_the_names_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="exit_cycles"):
        parse_assumptions([text])


def test_every_term_costs_parameters_that_exist_and_every_parameter_is_of_use() -> None:
    used = {name for term in TERMS.values() for name in term.parameters}
    assert used | {CLOCK} == set(Assumptions().parameters)


def test_what_is_assumed_is_described_with_status_and_sources() -> None:
    rows = {row[0]: row for row in described(parse_assumptions(["invept_cycles=9"]))}
    assert rows["invept_cycles"][1:6] == (9, 9, 9, "cycles", "override")
    assert rows["invept_cycles"][7] == "--assume invept_cycles=9"
    assert "7-cpu.com" in rows["walk_reference_cycles"][-1]


def test_a_cpus_own_figure_counts_where_every_profile_has_one_and_widens_the_range() -> None:
    low: dict[str, Any] = {"costs": {EXIT_FACT: {"value": 500, "status": "sourced"}}}
    general = Assumptions().cost(EXIT)
    found = [each.cost(EXIT) for each in by_profile([RECALLED, low], Assumptions())]
    assert found == [Range(1009, general.low, general.high), Range(500, 500, general.high)]


def test_one_figure_and_one_assumption_are_not_compared() -> None:
    first, second = by_profile([RECALLED, {"costs": {}}], Assumptions())
    assert first.cost(EXIT) == second.cost(EXIT) == Assumptions().cost(EXIT)
    assert "not for every profile" in exit_origin(RECALLED, first)


def test_the_users_figure_for_an_exit_stands_before_the_cpus_own() -> None:
    (found,) = by_profile([RECALLED], parse_assumptions(["exit_cycles=700"]))
    assert found.cost(EXIT) == Range(700, 700, 700)
    assert "--assume exit_cycles=700" in exit_origin(RECALLED, found)


# ---- terms ---------------------------------------------------------------------------------------


def busy(**changes: Any) -> MadeGuest:  # noqa: ANN401 - fields of any type
    """A guest of two vCPUs and 8 s with a few events of every kind under haswell, and shootdowns under zen2."""
    made = MadeGuest("g", **changes)
    counters(made, PROFILES)
    for row in made.tables["summary"]:
        row.update(ad_emulated_r=1, ad_emulated_w=2, vm_faults_r=3, vm_faults_w=0, vm_faults_x=4)
        row.update(traps=11, demotions=5)
    for row in made.tables["intervals"]:
        row.update(sweeps=int(row["interval"] < 2), resident=100 * (1 + row["interval"]))
    made.tables["dirty"] = [
        {
            "profile": "haswell",
            "interval": 1,
            "harvests": 1,
            "harvest_demotions": 2,
            "pml_entries": 900,
            "pml_exits": 1,
        }
    ]
    made.tables["ipis"] = [
        {"profile": "haswell", "cause": "harvest", **CAUSE, "ipis": 6, "forced_exits": 5, "invepts": 4},
        {"profile": "zen2", "cause": "aging", **CAUSE, "x86_ipis": 7},
    ]
    made.tables["wiring"] = [{"profile": "haswell", "host_ipis": 8}]
    made.tables["translations"] = [
        {"profile": "haswell", "guest_page_bytes": 4096, "guest_refs_l1": 10, "host_refs_l4": 30}
    ]
    made.tables["swap_activity"] = [
        {
            "profile": "haswell",
            "interval": 0,
            "swap_ins": 2,
            "read_ns": 200_000,
            "pageouts": 4,
            "write_ns": 1_000,
        }
    ]
    return made


def estimated(folder: Path, made: MadeGuest, *assumed: str) -> list[Estimate]:
    (guest,) = open_run(write_run(folder / "run", [made], PROFILES)).guests()
    return estimates(guest, [{"name": name} for name in PROFILES], parse_assumptions(assumed))


def test_every_term_is_its_events_times_what_each_costs(tmp_path: Path) -> None:
    found, other = estimated(tmp_path, busy(), *ROUND)
    exit_value, exit_low, exit_high = 550, 100, 1000
    cycles = {(at.term, at.kind): (at.events, *at.cycles) for at in found.items}
    assert cycles == {
        ("ad_emulation", "read"): (1, exit_value + 20, exit_low + 10, exit_high + 40),
        ("ad_emulation", "write"): (2, 2 * (exit_value + 20), 2 * (exit_low + 10), 2 * (exit_high + 40)),
        ("ad_emulation", "again"): (1, exit_value + 20, exit_low + 10, exit_high + 40),
        ("vm_fault", "read"): (3, 3 * (exit_value + 200), 3 * (exit_low + 200), 3 * (exit_high + 200)),
        ("vm_fault", "fetch"): (4, 4 * (exit_value + 200), 4 * (exit_low + 200), 4 * (exit_high + 200)),
        ("pml_full", ""): (1, exit_value + 30, exit_low + 30, exit_high + 30),
        ("ipis", "harvest"): (6, 12, 6, 18),
        ("forced_exits", "harvest"): (5, 5 * (exit_value + 10), 5 * (exit_low + 10), 5 * (exit_high + 10)),
        ("invepts", "harvest"): (4, 30, 20, 40),
        ("host_shootdowns", ""): (8, 8 * 19, 8 * 18, 8 * 20),
        ("sweeps", "aging"): (100, 300, 200, 400),
        ("sweeps", "harvest"): (200, 600, 400, 800),
        ("demotions", "harvest"): (2, 100, 100, 100),
        ("demotions", "other"): (3, 150, 150, 150),
        ("walks", "guest tables"): (10, 30, 10, 90),
        ("walks", "host tables"): (30, 90, 30, 270),
        ("swap_reads", ""): (2, 80_000, 20_000, 240_000),
        ("swap_writes", ""): (4, 2000, 1000, 4000),
    }
    shootdowns = [at for at in other.items if at.term == "shootdowns"]
    assert [(at.kind, at.events, at.cycles) for at in shootdowns] == [
        ("aging", 7, Range(7 * (exit_value + 19), 7 * (exit_low + 18), 7 * (exit_high + 20)))
    ]


def test_time_is_cycles_over_the_clock_and_waiting_does_not_depend_on_it(tmp_path: Path) -> None:
    found, _ = estimated(tmp_path, busy(), *ROUND)
    assert found.seconds("ipis") == pytest.approx(Range(12 / 2e9, 6 / 4e9, 18 / 1e9))
    assert found.seconds("swap_reads") == pytest.approx(Range(40e-6, 20e-6, 60e-6))
    assert found.share(Range(4, 2, 8)) == pytest.approx(Range(4 / 16, 2 / 16, 8 / 16))


def test_the_total_is_all_terms_but_writes_that_nobody_waits_for(tmp_path: Path) -> None:
    found, _ = estimated(tmp_path, busy(), *ROUND)
    assert found.cycles().value == sum(at.cycles.value for at in found.items if at.term != "swap_writes")
    assert found.cycles().high == sum(at.cycles.high for at in found.items if at.term != "swap_writes")


def test_swap_takes_what_the_replay_was_told_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    usual, _ = estimated(tmp_path / "a", busy())
    reads = Assumptions().cost("swap_read_us")
    assert usual.seconds("swap_reads") == pytest.approx(
        reads.times(2e-6)
    )  # 100 us is the usual time: with its range
    assert usual.seconds("swap_writes") == pytest.approx(Range(1e-6, 1e-6, 1e-6))  # 250 ns each, as told
    given_, _ = estimated(tmp_path / "b", busy(), "swap_write_us=3")
    assert given_.seconds("swap_writes") == pytest.approx(Range(12e-6, 12e-6, 12e-6))


def test_without_times_there_is_no_share(tmp_path: Path) -> None:
    found, _ = estimated(tmp_path, busy(seconds=None))
    assert found.vcpu_seconds is None
    rows = cost_rows("g", [found])
    assert rows[-1]["term"] == TOTAL
    assert rows[-1]["share"] is rows[-1]["share_low"] is None
    assert rows[-1]["seconds"] > 0


def test_rows_hold_every_term_and_the_total(tmp_path: Path) -> None:
    found, _ = estimated(tmp_path, busy(), *ROUND)
    rows = cost_rows("g", [found])
    assert [(row["term"], row["kind"]) for row in rows[:-1]] == [(at.term, at.kind) for at in found.items]
    assert rows[-1]["events"] is None
    assert rows[-1]["share"] == pytest.approx(found.seconds().value / (8 * 2))
    assert {row["spent"] for row in rows} == {"cpu", "waiting", "device", ""}


def test_a_guest_that_did_nothing_costs_nothing(tmp_path: Path) -> None:
    made = MadeGuest("g")
    counters(made, PROFILES)
    for row in made.tables["summary"]:
        row.update(ad_emulated_w=0, vm_faults_r=0, traps=0, first_time=0, last_time=8 * SECOND)
    found, _ = estimated(tmp_path, made)
    assert (found.items, found.cycles(), found.seconds()) == ((), ZERO, ZERO)


# ---- ranges --------------------------------------------------------------------------------------

counts = st.integers(0, 10**12)
events = st.dictionaries(st.sampled_from(sorted(TERMS)), counts)
parameters = st.sampled_from(sorted(Assumptions().parameters))


def estimate_of(found: dict[str, int], assumed: Assumptions) -> Estimate:
    items: tuple[Item, ...] = tuple(item(term, "", number, assumed) for term, number in found.items())
    return Estimate("p", items, 1.0, assumed)


@given(events)
def test_a_range_holds_its_value(found: dict[str, int]) -> None:
    estimate = estimate_of(found, Assumptions())
    for each in (estimate.cycles(), estimate.seconds()):
        assert 0 <= each.low <= each.value <= each.high


@given(events, parameters, st.floats(1, 1e6), st.floats(1, 100))
def test_more_for_an_event_never_makes_a_guest_cheaper(
    found: dict[str, int], name: str, value: float, factor: float
) -> None:
    before = estimate_of(found, Assumptions().with_value(name, "", Range(value, value, value)))
    dearer = value * factor
    after = estimate_of(found, Assumptions().with_value(name, "", Range(dearer, dearer, dearer)))
    cheaper = before.seconds().value * (1 + 1e-12) < after.seconds().value if name == CLOCK else False
    assert not cheaper
    assert all(a <= b * (1 + 1e-12) for a, b in zip(before.cycles(), after.cycles(), strict=True))


@given(events, parameters, st.floats(0, 1), st.floats(1, 9))
def test_a_wider_range_of_a_parameter_never_narrows_the_estimate(
    found: dict[str, int], name: str, down: float, up: float
) -> None:
    usual = Assumptions().cost(name)
    wider = Range(usual.value, max(usual.low * down, 1e-3), usual.high * up)
    before = estimate_of(found, Assumptions())
    after = estimate_of(found, Assumptions().with_value(name, "", wider))
    for of in ("cycles", "seconds"):
        narrow, wide = getattr(before, of)(), getattr(after, of)()
        assert wide.low <= narrow.low * (1 + 1e-12)
        assert wide.high * (1 + 1e-12) >= narrow.high


@given(events, events, st.data())
def test_the_difference_holds_for_every_value_that_parameters_may_have(
    ours: dict[str, int], theirs: dict[str, int], data: st.DataObject
) -> None:
    usual = Assumptions()
    base, other = estimate_of(ours, usual), estimate_of(theirs, usual)
    found = difference(base, other)
    fixed = usual
    for name in usual.parameters:
        of = usual.cost(name)
        value = data.draw(st.floats(of.low, of.high))
        fixed = fixed.with_value(name, "", Range(value, value, value))
    true = estimate_of(theirs, fixed).seconds().value - estimate_of(ours, fixed).seconds().value
    slack = 1e-9 * (estimate_of(theirs, fixed).seconds().value + estimate_of(ours, fixed).seconds().value)
    assert found.low - slack <= true <= found.high + slack
    assert found.value == pytest.approx(other.seconds().value - base.seconds().value, abs=slack + 1e-12)


def test_what_both_profiles_share_cancels_out_however_uncertain_it_is() -> None:
    base = estimate_of({"vm_fault": 1000, "ipis": 7}, Assumptions())
    assert difference(base, estimate_of({"vm_fault": 1000, "ipis": 7}, Assumptions())) == ZERO
    more = difference(base, estimate_of({"vm_fault": 1000, "ipis": 8}, Assumptions()))
    assert 0 < more.low < more.high < 2e-6


def test_figures_of_two_cpus_may_differ_either_way() -> None:
    ours, theirs = by_profile(
        [RECALLED, {"costs": {EXIT_FACT: {"value": 1100, "status": "sourced"}}}], Assumptions()
    )
    found = difference(estimate_of({"vm_fault": 10}, ours), estimate_of({"vm_fault": 10}, theirs))
    assert found.low < 0 < found.value < found.high


def test_a_range_is_told_in_parentheses_unless_it_is_none() -> None:
    assert Range(2, 1, 3).as_text(str) == "2 (1 to 3)"
    assert Range(2, 2, 2).as_text(str) == "2"
