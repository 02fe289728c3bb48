"""The first screen: four questions, each answered in a sentence that has the number (rules: docs/reports.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from eptreplay.report.cost_terms import estimates
from eptreplay.report.costs import Range
from eptreplay.report.need import basis, curves, needed
from eptreplay.report.numbers import change, count, listed, memory, percent, rate, seconds
from eptreplay.report.times import doubt, why_untimed

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
    base: int = 0
    """Number of the profile that this one is measured by."""
    compared: bool = False
    """Whether two runs are compared."""
    range: Range | None = None
    """The estimated seconds with their range."""
    doubted: str = ""
    """Why the guest's times cannot be right, if they cannot; there is no share then."""

    def told(self) -> str:
        """Return the estimate with its range: a share of run time, or CPU time where that is not known."""
        known = self.range or Range(self.seconds, self.seconds, self.seconds)
        if self.share is None:
            return known.told(seconds)
        shares = known.times(self.share / self.seconds) if self.seconds else known
        return shares.told(lambda value: percent(value, 1))

    def estimated(self) -> str:
        """Return the same as a part of a sentence."""
        return f"an estimated {self.told()} of {'CPU' if self.share is None else 'its run'} time"


def standings(guest: Guest, profiles: Sequence[Mapping[str, Any]], assumed: Assumptions) -> list[Standing]:
    """Return how every profile did, in the order of the run."""
    found = []
    estimated = estimates(guest, profiles, assumed)
    doubted = doubt(guest, estimated)
    for profile, estimate in zip(profiles, estimated, strict=True):
        row = guest.summary[profile["name"]]
        cost = estimate.seconds()
        share = None if doubted else estimate.share(cost)
        found.append(
            Standing(
                profile["name"],
                exits(row),
                row["ipis"] + row["x86_ipis"],
                cost.value,
                None if share is None else share.value,
                profile.get("base", 0),
                "base" in profile,
                cost,
                doubted,
            )
        )
    return found


def total(guests: Sequence[Sequence[Standing]]) -> list[Standing]:
    """Return how every profile did with several guests together; shares of different times do not add up."""
    return [
        Standing(
            of[0].profile,
            sum(at.exits for at in of),
            sum(at.ipis for at in of),
            sum(at.seconds for at in of),
            None,
            of[0].base,
            of[0].compared,
        )
        for of in zip(*guests, strict=True)
    ]


def answers(guest: Guest, found: Sequence[Standing]) -> list[Answer]:
    """Return the answers of a guest's first screen."""
    return [
        cost_answer(guest, found),
        runs_answer(found) if found[0].compared else profile_answer(found),
        reclaim_answer(guest, cold(guest)),
        need_answer(guest),
        migrate_answer(guest),
    ]


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
        return Answer(question, "nothing", "The trace has no access to memory.", "exits-ipis")
    sentence = (
        f"Under {first.profile} it left for the hypervisor {count(first.exits, 'time')} "
        f"({rate(1e6 * first.exits / accesses)} per million accesses) and cost {count(first.ipis, 'IPI')}: {first.estimated()}."
    )
    if first.doubted:
        sentence = f"{sentence} {first.doubted}"
    return Answer(question, count(first.exits, "exit"), sentence, "cost")


def profile_answer(found: Sequence[Standing]) -> Answer:
    """What would another CPU change?"""
    question = "What would another CPU change?"
    if len(found) == 1:
        only = found[0].profile
        return Answer(question, "not asked", f"Only {only} was replayed; add profiles with -p.", "profiles")
    best = min(found, key=lambda standing: (standing.seconds, standing.exits))
    worst = max(found, key=lambda standing: (standing.seconds, standing.exits))
    if best.seconds == worst.seconds:
        return Answer(
            question,
            "nothing",
            f"{'Both' if len(found) == 2 else f'All {len(found)}'} profiles cost the same.",
            "profiles",
        )
    more = change(best.seconds, worst.seconds) or f"{seconds(worst.seconds)} more"
    sentence = (
        f"{best.profile} is best and {worst.profile} worst, by estimated cost: {count(worst.exits, 'exit')} and "
        f"{count(worst.ipis, 'IPI')} instead of {count(best.exits)} and {count(best.ipis)}."
    )
    return Answer(question, f"{more} from best to worst", sentence, "profiles")


def runs_answer(found: Sequence[Standing]) -> Answer:
    """What differs between the runs? Asked in a comparison instead of the other CPU."""
    question = "What differs between the runs?"
    pairs = [(found[at.base], at) for number, at in enumerate(found) if at.base != number]
    if not pairs:
        return Answer(question, "the profiles", "The runs share no profile.", "profiles")
    before, after = max(pairs, key=lambda pair: abs(pair[1].seconds - pair[0].seconds))
    if all(a.seconds == b.seconds and a.exits == b.exits for a, b in pairs):
        return Answer(question, "nothing", "Every profile costs the same in both.", "profiles")
    more = change(before.seconds, after.seconds) or f"{seconds(after.seconds)} more"
    sentence = (
        f"From {before.profile} to {after.profile}, where it is most: {count(after.exits, 'exit')} and "
        f"{count(after.ipis, 'IPI')} instead of {count(before.exits)} and {count(before.ipis)}."
    )
    return Answer(question, f"{more} of estimated cost", sentence, "profiles")


COLD_SECONDS = (1.0, 10.0, 60.0)
COLD_SHARES = (0.1, 0.25, 0.5)


class Cold(NamedTuple):
    """How many touched pages had been idle for at least an age at the end of the trace."""

    age: str
    pages: int


def cold(guest: Guest) -> list[Cold]:
    """Return what was cold at the end: at 1, 10 and 60 s, as far as half the trace goes; else at shares of its length."""
    frame = guest.frame("idle_age").drop_nulls("age_intervals")
    if frame.is_empty():
        return []
    timed = guest.seconds is not None and frame["idle_s"].null_count() == 0
    length = guest.seconds if timed and guest.seconds is not None else float(guest.intervals)
    column = "idle_s" if timed else "age_intervals"
    ages = [age for age in COLD_SECONDS if age <= length / 2] if timed else []
    if not ages:
        if guest.intervals < 2 / COLD_SHARES[0]:
            return []
        ages = [share * length for share in COLD_SHARES]
    return [
        Cold(
            seconds(age) if timed else count(math.ceil(age), "interval"),
            int(frame.filter(pl.col(column) >= age)["pages"].sum()),
        )
        for age in ages
    ]


def reclaim_answer(guest: Guest, found: Sequence[Cold]) -> Answer:
    """What can be reclaimed?"""
    question = "What can be reclaimed?"
    row = guest.any_summary
    whole = guest.about["memory_pages"]
    touched = row["pages_touched"]
    never = f"{memory(whole - touched)} of its {memory(whole)} was never touched"
    if touched == 0:
        return Answer(question, "all of it", f"The trace touched none of its {memory(whole)}.", "cold")
    if not found:
        why = (
            "The run has too few intervals to call a page cold"
            if guest.has("idle_age")
            else "The run does not say how long pages were idle"
        )
        return Answer(question, f"{memory(whole - touched)} untouched", f"{why}; {never}.", "profiles")
    parts = listed([f"{memory(at.pages)} for {at.age} or longer" for at in found])
    sentence = f"Of the {memory(touched)} it touched, idle at the end of the trace: {parts}. {never}."
    wired = devices(guest)
    if wired:
        why = f"All of its memory is wired for the {passed(wired)}. Without: o{sentence[1:]}"
        return Answer(question, "nothing", why, "wired")
    return Answer(question, f"{memory(found[0].pages)} cold for {found[0].age}", sentence, "cold")


def devices(guest: Guest) -> list[str]:
    """Return the names of the devices passed through to a guest: all of its memory is wired for them."""
    return (
        guest.frame("passthrough")["device"].unique(maintain_order=True).to_list()
        if guest.has("passthrough")
        else []
    )


def need_answer(guest: Guest) -> Answer:
    """How much memory does it need?"""
    question = "How much memory does it need?"
    parts = curves(guest)
    if not parts:
        return Answer(
            question, "not known", "The run has no miss-ratio curve, or no access touched memory.", "profiles"
        )
    found = needed(parts)
    sentence = (
        f"With that at most one access in a million would miss beyond first touches, the least recently used page always "
        f"going first. {basis(parts, guest.any_summary['pages_touched'])}"
    )
    return Answer(question, str(found), sentence, "miss-ratios")


MIGRATED_AT = 4096
"""Granularity of the migration that the answer is about, bytes."""


def migrations(guest: Guest) -> list[dict[str, Any]]:
    """Return the migrations at 4 KB, the slowest link first."""
    frame = guest.frame("migrations")
    if frame.is_empty():
        return []
    frame = frame.filter(pl.col("page_bytes") == MIGRATED_AT).sort("gbit_per_second")
    return list(frame.iter_rows(named=True))


def migrate_answer(guest: Guest) -> Answer:
    """Can it migrate?"""
    question = "Can it migrate?"
    found = migrations(guest)
    if not found:
        why = why_untimed(guest) or "This run has no estimate; replay again to have one."
        return Answer(question, "not estimated", why, "profiles")
    target = seconds(found[0]["downtime_target_s"])
    good = [row for row in found if row["converges"]]
    if not good:
        best = found[-1]
        tried = listed([f"{row['gbit_per_second']:g}" for row in found])
        sentence = (
            f"Pre-copy does not converge over links of {tried} Gbit/s; at "
            f"{best['gbit_per_second']:g} Gbit/s the pause would still be {seconds(best['downtime_s'])} (allowed: {target})."
        )
        return Answer(question, "no", sentence, "migration", "bad")
    first = good[0]
    smallest = first["smallest_gbit_per_second"]
    least = f" The smallest link that converges has {smallest:.3g} Gbit/s." if smallest is not None else ""
    if_so = ", if it goes on as in its trace, which is shorter" if first["verdict"] == "repeats" else ""
    sentence = (
        f"Over {first['gbit_per_second']:g} Gbit/s pre-copy converges after {count(first['rounds'], 'round')}{if_so}: "
        f"{seconds(first['total_s'])} in all, {seconds(first['downtime_s'])} of it paused (allowed: {target}).{least}"
    )
    wired = devices(guest)
    if wired:
        why = f"The {passed(wired)} would have to go first: dirty bits do not show DMA. Without: {sentence[0].lower()}{sentence[1:]}"
        return Answer(question, "not with a device", why, "migration", "bad")
    return Answer(question, f"yes, at {first['gbit_per_second']:g} Gbit/s", sentence, "migration", "good")


def passed(names: Sequence[str]) -> str:
    """Return devices that are passed through, in words."""
    return f"passthrough device{'s' if len(names) > 1 else ''} {listed(names)}"
