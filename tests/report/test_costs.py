"""From counts to time: assumptions, and when a CPU's own figure counts."""

from __future__ import annotations

import pytest

from eptreplay.errors import UsageError
from eptreplay.report.costs import EXIT_FACT, MEANINGS, Assumptions, costs_of, parse_assumptions

ROW = {
    "ad_emulated_r": 1,
    "ad_emulated_w": 2,
    "vm_faults_r": 3,
    "vm_faults_w": 4,
    "vm_faults_x": 5,
    "ipis": 6,
    "x86_ipis": 7,
}
KNOWN = {"costs": {EXIT_FACT: {"value": 1009, "status": "recalled"}}}


def test_assumptions_are_read_over_the_defaults() -> None:
    found = parse_assumptions(["ipi_cycles=3000", "clock_mhz=3200.5"])
    assert (found.ipi_cycles, found.clock_mhz, found.exit_cycles) == (3000, 3200.5, Assumptions().exit_cycles)


@pytest.mark.parametrize(
    "text", ["ipi_cycles", "ipis=3", "ipi_cycles=", "ipi_cycles=-1", "clock_mhz=0", "clock_mhz=nan"]
)
def test_what_is_no_assumption_is_told_with_the_names_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="exit_cycles"):
        parse_assumptions([text])


def test_every_assumption_has_a_meaning() -> None:
    assert [name for name, _, _ in Assumptions().items()] == list(MEANINGS)


def test_cycles_are_events_times_what_each_costs() -> None:
    (cost,) = costs_of([{}], Assumptions(100, 10, 20, 5, 1))
    assert cost.cycles(ROW) == 15 * 100 + 3 * 10 + 12 * 20 + 13 * 5
    assert cost.seconds(ROW) == pytest.approx(cost.cycles(ROW) / 1e6)


def test_a_cpus_own_figure_counts_where_every_profile_has_one() -> None:
    assert [cost.exit_cycles for cost in costs_of([KNOWN, KNOWN], Assumptions())] == [1009, 1009]


def test_one_figure_and_one_assumption_are_not_compared() -> None:
    first, second = costs_of([KNOWN, {"costs": {}}], Assumptions())
    assert first.exit_cycles == second.exit_cycles == Assumptions().exit_cycles
    assert "not for every profile" in first.origin
