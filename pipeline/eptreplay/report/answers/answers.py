"""The first screen: five questions, each answered in a sentence that has the number (rules: docs/reports.md)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.report.answers.differences import (
    NOT_APART,
    difference_text,
    distinguishable,
    equal,
    more,
    range_of,
)
from eptreplay.report.answers.need import basis, curves, needed
from eptreplay.report.answers.outside import warning
from eptreplay.report.answers.upgrade import QUESTION, upgrade_figures
from eptreplay.report.costs.times import why_untimed
from eptreplay.report.read.frames import ordered, rows_where, rows_with
from eptreplay.report.read.numbers import count, listed, memory, rate, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eptreplay.report.answers.standing import Standing
    from eptreplay.report.read.run import Guest


RECLAIM, MIGRATE = "What can be reclaimed?", "Can it migrate?"


class Answer(NamedTuple):
    """A question, the number that answers it, the sentence around it, and where the evidence is."""

    question: str
    figure: str
    sentence: str
    anchor: str
    tone: str = ""


def answers(guest: Guest, found: Sequence[Standing]) -> list[Answer]:
    """Return the answers of a guest's first screen; each warns where much of the trace lies outside memory."""
    mind = warning(guest.any_summary)
    return [
        answer._replace(sentence=answer.sentence + mind)
        for answer in (
            cost_answer(guest, found),
            runs_answer(found) if found[0].compared else profile_answer(found),
            *upgrade_answer(guest, found),
            reclaim_answer(guest, cold(guest)),
            need_answer(guest),
            migrate_answer(guest),
        )
    ]


def cost_answer(guest: Guest, found: Sequence[Standing]) -> Answer:
    """What did this guest cost?"""
    first = found[0]
    row = guest.any_summary
    accesses = row["reads"] + row["writes"] + row["fetches"]
    question = "What did this guest cost?"
    if accesses == 0:
        return Answer(question, "nothing", "The trace has no access to memory.", "exits-ipis")
    sentence = (
        f"Under {first.profile} it took {count(first.exits, 'VM exit')} "
        f"({rate(1e6 * first.exits / accesses)} per million accesses) and {count(first.ipis, 'IPI')}: {first.estimated()}."
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
    if equal(best, worst):
        return Answer(
            question,
            "nothing",
            f"{'Both' if len(found) == 2 else f'All {len(found)}'} profiles cost the same.",
            "profiles",
        )
    cheapest, dearest = _alike(best, found), _alike(worst, found)
    events = f"{count(worst.exits, 'exit')} and {count(worst.ipis, 'IPI')} instead of {count(best.exits)} and {count(best.ipis)}."
    if not distinguishable(best, worst):
        sentence = f"By estimated cost {cheapest} and {dearest} {NOT_APART}: the difference is {range_of(best, worst)}. {events}"
        return Answer(question, NOT_APART, sentence, "profiles")
    near = [at.profile for at in found if not equal(best, at) and not distinguishable(best, at)]
    close = f" {listed(near)} {NOT_APART} from {best.profile}." if near else ""
    sentence = f"{cheapest} {'is' if cheapest == best.profile else 'are'} best and {dearest} worst, by estimated cost: {events}{close}"
    return Answer(question, f"{difference_text(best, worst)} from best to worst", sentence, "profiles")


def upgrade_answer(guest: Guest, found: Sequence[Standing]) -> list[Answer]:
    """What did the upgrade cost or save? Asked where a CPU was replayed under 10.0 and under a later release."""
    figures = upgrade_figures(guest, found)
    return [] if figures is None else [Answer(QUESTION, *figures, "upgrade")]


def _alike(of: Standing, found: Sequence[Standing]) -> str:
    """Return the names of all profiles that cost exactly the same as one."""
    return listed([at.profile for at in found if equal(of, at)])


def runs_answer(found: Sequence[Standing]) -> Answer:
    """What differs between the runs? Asked in a comparison instead of the other CPU."""
    question = "What differs between the runs?"
    pairs = [(found[at.base], at) for number, at in enumerate(found) if at.base != number]
    if not pairs:
        return Answer(question, "the profiles", "The runs share no profile.", "profiles")
    if all(equal(a, b) and a.exits == b.exits for a, b in pairs):
        return Answer(question, "nothing", "Every profile costs the same in both.", "profiles")
    apart = [pair for pair in pairs if distinguishable(*pair)]
    before, after = max(apart or pairs, key=lambda pair: abs(more(*pair).value))
    events = f"{count(after.exits, 'exit')} and {count(after.ipis, 'IPI')} instead of {count(before.exits)} and {count(before.ipis)}."
    if not apart:
        cost = (
            f"by estimated cost the runs {NOT_APART} (difference {range_of(before, after)})"
            if not equal(before, after)
            else "the estimated cost is the same"
        )
        figure = NOT_APART if not equal(before, after) else "exits or IPIs alone"
        return Answer(
            question, figure, f"From {before.profile} to {after.profile} {cost}: {events}", "profiles"
        )
    sentence = f"From {before.profile} to {after.profile}, where it is most: {events}"
    return Answer(question, f"{difference_text(before, after)} of estimated cost", sentence, "profiles")


COLD_SECONDS = (1.0, 10.0, 60.0)
COLD_SHARES = (0.1, 0.25, 0.5)


class Cold(NamedTuple):
    """How many touched pages had been idle for at least an age at the end of the trace."""

    age: str
    pages: int


def cold(guest: Guest) -> list[Cold]:
    """Return what was cold at the end of the guest's own trace: at 1, 10 and 60 s, as far as half of it goes; else at shares of it."""
    timed = _is_timed(guest)
    return [
        Cold(seconds(age) if timed else count(math.ceil(age), "interval"), idle_pages(guest, age))
        for age in _ages(guest)
    ]


def first_age(guest: Guest) -> float | None:
    """Return the first of the ages of `cold`, in seconds; None where there is none, or times are not known."""
    ages = _ages(guest)
    return ages[0] if ages and _is_timed(guest) else None


def _ages(guest: Guest) -> list[float]:
    """Return the ages at which memory is called cold: in seconds, or in intervals where times are not known."""
    if not len(_idle(guest).pages):
        return []
    timed = _is_timed(guest)
    begin, end = guest.life
    length = guest.trace_seconds if timed and guest.trace_seconds is not None else float(end - begin)
    ages = [age for age in COLD_SECONDS if age <= length / 2] if timed else []
    if ages:
        return ages
    return [share * length for share in COLD_SHARES] if end - begin >= 2 / COLD_SHARES[0] else []


class Idle(NamedTuple):
    """How long touched pages were idle at the end, and how many pages of each age; ages in seconds are NaN where not known."""

    intervals: NDArray[np.int64]
    seconds: NDArray[np.float64]
    pages: NDArray[np.int64]
    timed: bool


def _idle(guest: Guest) -> Idle:
    return guest.once("idle ages", _idle_of)


def _idle_of(guest: Guest) -> Idle:
    frame = rows_with(guest.frame("idle_age"), "age_intervals")
    timed = guest.trace_seconds is not None and frame["idle_s"].null_count() == 0
    ages, idle, pages = (frame[name].to_numpy() for name in ("age_intervals", "idle_s", "pages"))
    return Idle(ages, idle, pages, timed)


def _is_timed(guest: Guest) -> bool:
    """Return whether it is known in seconds how long pages were idle."""
    return _idle(guest).timed


def idle_by_age(guest: Guest) -> tuple[tuple[float, int], ...]:
    """Return how long touched pages were idle, in seconds, and how many of each; nothing where that is not known."""
    if not _is_timed(guest):
        return ()
    found = _idle(guest)
    some = found.pages > 0
    return tuple(zip(found.seconds[some].tolist(), found.pages[some].tolist(), strict=True))


def idle_pages(guest: Guest, age: float) -> int:
    """Return the touched pages that were idle for an age: seconds, or intervals where times are not known."""
    found = _idle(guest)
    return int(found.pages[(found.seconds if found.timed else found.intervals) >= age].sum())


def reclaim_answer(guest: Guest, found: Sequence[Cold]) -> Answer:
    """What can be reclaimed?"""
    question = RECLAIM
    row = guest.any_summary
    whole = guest.about["memory_pages"]
    touched = row["pages_touched"]
    untouched = never_touched(guest)
    rest = f"{memory(untouched)} of its {memory(whole)} was never touched.{given_back(guest)}{silent(guest)}"
    if touched == 0:
        figure = "all of it" if untouched == whole else memory(untouched)
        return Answer(question, figure, f"The trace touched nothing: {rest}", "cold")
    if not found:
        why = (
            "The run has too few intervals to call a page cold"
            if guest.has("idle_age")
            else "The run does not say how long pages were idle"
        )
        return Answer(question, f"{memory(untouched)} untouched", f"{why}; {rest}", "profiles")
    parts = listed([f"{memory(at.pages)} for {at.age} or longer" for at in found])
    sentence = f"Of the {memory(touched)} it touched, idle at the end of the trace: {parts}. {rest}"
    wired = devices(guest)
    if wired:
        why = f"All of its memory is wired for the {passed(wired)}. Without: o{sentence[1:]}"
        return Answer(question, "nothing", why, "wired")
    return Answer(question, f"{memory(found[0].pages)} cold for {found[0].age}", sentence, "cold")


def never_touched(guest: Guest) -> int:
    """Return the pages of a guest's memory at the end that hold nothing: never touched, or not since they were unmapped."""
    frame, row = guest.frame("idle_age"), guest.any_summary
    if frame.is_empty() or not (row["pages_unmapped"] or row["pages_freed"]):
        return int(guest.about["memory_pages"] - row["pages_touched"])
    return int(rows_where(frame, frame["age_intervals"].is_null())["pages"].sum())


def given_back(guest: Guest) -> str:
    """Return, as a sentence, what a guest gave back, which nobody can reclaim; empty if nothing."""
    row = guest.any_summary
    ways = (("unmapped", row["pages_unmapped"]), ("freed by advice", row["pages_freed"]))
    parts = [f"{memory(pages)} was {way}" for way, pages in ways if pages]
    return f" It gave memory back, which is in none of this: {listed(parts)}." if parts else ""


def silent(guest: Guest) -> str:
    """Return, as a sentence, how long the host ran before and after the trace of the guest; empty if not at all."""
    before, after = guest.silent_seconds
    parts = [
        f"{seconds(round(time, 9))} {where}"
        for time, where in ((before, "before"), (after, "after"))
        if time > 0
    ]
    return f" Of the host's {listed(parts)} its trace nothing is known." if parts else ""


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
    return guest.once("migrations at 4 KB", _migrations)


def _migrations(guest: Guest) -> list[dict[str, Any]]:
    frame = guest.frame("migrations")
    if frame.is_empty():
        return []
    frame = ordered(rows_where(frame, frame["page_bytes"] == MIGRATED_AT), "gbit_per_second")
    return list(frame.iter_rows(named=True))


def migrate_answer(guest: Guest) -> Answer:
    """Can it migrate?"""
    question = MIGRATE
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
