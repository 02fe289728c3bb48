"""From counts to time: what an event is assumed to cost, said wherever the result is.

Nothing here is measured. Profiles' own facts are used where all of them have one, with how well it is known; else the
parameters below, which `report --assume NAME=VALUE` changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXIT_FACT = "vmexit_roundtrip_cycles"


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Parameters of the estimate, in cycles unless the name says otherwise."""

    exit_cycles: float = 1500
    emulation_cycles: float = 1000
    vm_fault_cycles: float = 4000
    ipi_cycles: float = 2000
    clock_mhz: float = 2500

    def items(self) -> list[tuple[str, float, str]]:
        """Return name, value and meaning of every parameter."""
        return [(f.name, getattr(self, f.name), MEANINGS[f.name]) for f in fields(self)]


MEANINGS = {
    "exit_cycles": "cycles from leaving the guest to being back in it, without what the host does meanwhile; "
    "used unless every profile of the run has a figure of its own",
    "emulation_cycles": "cycles the host spends on setting an emulated accessed or dirty bit",
    "vm_fault_cycles": "cycles the host spends in vm_fault and pmap_enter",
    "ipi_cycles": "cycles that one CPU loses to one IPI: the exit it forces, the INVEPT, and the way back",
    "clock_mhz": "clock of the host in MHz, which turns cycles into time",
}


def parse_assumptions(texts: Sequence[str]) -> Assumptions:
    """Read `NAME=VALUE` texts over the defaults.

    Raises:
        UsageError: a name is unknown or a value is no positive number.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in MEANINGS or not re.fullmatch(r"\d+(\.\d+)?", value) or float(value) == 0:
            raise UsageError(
                f"'{text}' is no assumption; give NAME=VALUE with NAME one of {', '.join(MEANINGS)}"
            )
        found[name] = float(value)
    return replace(Assumptions(), **found)


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles an event costs under one profile, and where the exit's figure is from."""

    exit_cycles: float
    origin: str
    assumed: Assumptions

    def cycles(self, row: Mapping[str, Any]) -> float:
        """Return the cycles that the exits and IPIs in a row of counters are estimated to cost."""
        emulated = row["ad_emulated_r"] + row["ad_emulated_w"]
        resolved = row["vm_faults_r"] + row["vm_faults_w"] + row["vm_faults_x"]
        ipis = row["ipis"] + row["x86_ipis"]
        return float(
            (emulated + resolved) * self.exit_cycles
            + emulated * self.assumed.emulation_cycles
            + resolved * self.assumed.vm_fault_cycles
            + ipis * self.assumed.ipi_cycles
        )

    def seconds(self, row: Mapping[str, Any]) -> float:
        """Return the same as time."""
        return self.cycles(row) / (self.assumed.clock_mhz * 1e6)


def costs_of(profiles: Sequence[Mapping[str, Any]], assumed: Assumptions) -> list[Cost]:
    """Return what events cost under each profile, as run.json describes them.

    A CPU's own figure for an exit is used where every profile of the run has one: a figure on one side and an
    assumption on the other would compare what is known of two CPUs, not the CPUs.
    """
    facts = [profile.get("costs", {}).get(EXIT_FACT) for profile in profiles]
    if all(facts):
        return [
            Cost(float(fact["value"]), f"{fact['value']:,} cycles an exit ({fact['status']})", assumed)
            for fact in facts
            if fact
        ]
    origin = f"{assumed.exit_cycles:,.0f} cycles an exit (assumed)"
    return [
        Cost(
            assumed.exit_cycles,
            f"{origin}; {fact['value']:,} are {fact['status']}, but not for every profile here"
            if fact
            else origin,
            assumed,
        )
        for fact in facts
    ]
