"""The first screen: four questions, each answered in a sentence that has the number (rules: docs/reports.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.report.costs import cost_of
from eptreplay.report.numbers import change, count, memory, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.report.costs import Assumptions
    from eptreplay.report.run import Guest


class Answer(NamedTuple):
    """A question, the number that answers it, the sentence around it, and where the evidence is."""

    question: str
    figure: str
    sentence: str
    anchor: str
    tone: str = ""


class Standing(NamedTuple):
    """How a profile did with a guest."""

    profile: str
    exits: int
    ipis: int
    seconds: float
    share: float | None
    """Estimated share of the vCPUs' trace time; None where the time is not known."""


def standings(guest: Guest, profiles: Sequence[Mapping[str, Any]], assumed: Assumptions) -> list[Standing]:
    """Return how every profile did, in the order of the run."""
    found = []
    for profile in profiles:
        row = guest.summary[profile["name"]]
        cost = cost_of(profile, assumed).seconds(row)
        whole = (guest.seconds_under(profile["name"]) or 0) * row["vcpus"]
        found.append(
            Standing(
                profile["name"],
                exits(row),
                row["ipis"] + row["x86_ipis"],
                cost,
                cost / whole if whole else None,
            )
        )
    return found


def answers(guest: Guest, found: Sequence[Standing], assumed: Assumptions) -> list[Answer]:
    """Return the four answers of a guest's first screen."""
    return [cost_answer(guest, found), profile_answer(found), reclaim_answer(guest, [])]


def exits(row: Mapping[str, Any]) -> int:
    """Return the exits in a row of counters: accesses settled by A/D emulation or by vm_fault."""
    names = ("ad_emulated_r", "ad_emulated_w", "vm_faults_r", "vm_faults_w", "vm_faults_x")
    return sum(int(row[name]) for name in names)


def cost_answer(guest: Guest, found: Sequence[Standing]) -> Answer:
    """What did this guest cost?"""
    first = found[0]
    row = guest.any_summary
    accesses = row["reads"] + row["writes"] + row["fetches"]
    question = "What did this guest cost?"
    if accesses == 0:
        return Answer(question, "nothing", "The trace has no access to memory.", "exits")
    rate = 1e6 * first.exits / accesses
    share = (
        f"an estimated {percent(first.share, 1)} of its run time"
        if first.share is not None
        else f"an estimated {seconds(first.seconds)} of CPU time"
    )
    sentence = (
        f"Under {first.profile} it left for the hypervisor {count(first.exits, 'time')} "
        f"({rate:.3g} per million accesses) and cost {count(first.ipis, 'IPI')}: {share}."
    )
    return Answer(question, count(first.exits, "exit"), sentence, "exits")


def profile_answer(found: Sequence[Standing]) -> Answer:
    """What would another CPU change?"""
    question = "What would another CPU change?"
    if len(found) == 1:
        only = found[0].profile
        return Answer(question, "not asked", f"Only {only} was replayed; add profiles with -p.", "profiles")
    best = min(found, key=lambda standing: (standing.seconds, standing.exits))
    worst = max(found, key=lambda standing: (standing.seconds, standing.exits))
    if best.seconds == worst.seconds:
        return Answer(question, "nothing", f"All {len(found)} profiles cost the same.", "profiles")
    more = change(best.seconds, worst.seconds) or f"{seconds(worst.seconds)} more"
    sentence = (
        f"{best.profile} is best and {worst.profile} worst, by estimated cost: {count(worst.exits, 'exit')} and "
        f"{count(worst.ipis, 'IPI')} instead of {count(best.exits)} and {count(best.ipis)}."
    )
    return Answer(question, f"{more} from best to worst", sentence, "profiles")


class Cold(NamedTuple):
    """What was not touched for the last `seconds` (or intervals) of the trace."""

    label: str
    pages: int


def reclaim_answer(guest: Guest, cold: Sequence[Cold]) -> Answer:
    """What can be reclaimed?"""
    question = "What can be reclaimed?"
    row = guest.any_summary
    whole = guest.about["memory_pages"]
    never = whole - row["pages_touched"]
    rest = f"; {memory(never)} of its {memory(whole)} was never touched."
    if not cold:
        return Answer(question, memory(never), f"The trace is too short to call a page cold{rest}", "cold")
    parts = ", ".join(f"{memory(at.pages)} for {at.label}" for at in cold)
    sentence = f"Of the {memory(row['pages_touched'])} it used, untouched at the end: {parts}{rest}"
    return Answer(question, f"{memory(cold[0].pages)} cold", sentence, "cold")
