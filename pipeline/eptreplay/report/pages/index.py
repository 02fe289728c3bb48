"""The first page of a run: answers for all guests together, then guests by profiles, the costliest guest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.profiles import daemon_note, is_later, superpages_note
from eptreplay.report.answers.answers import (
    MIGRATE,
    RECLAIM,
    Answer,
    cold,
    devices,
    first_age,
    idle_by_age,
    migrations,
    never_touched,
    profile_answer,
    runs_answer,
)
from eptreplay.report.answers.measures import cells, cost_cells
from eptreplay.report.answers.outside import outside_of_guests, warning_of_guests
from eptreplay.report.answers.standing import total
from eptreplay.report.read.approximated import approximated_of
from eptreplay.report.read.numbers import count, listed, memory, seconds
from eptreplay.report.read.verified import unverified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.answers.standing import Standing
    from eptreplay.report.costs.costs import Assumptions
    from eptreplay.report.read.run import Guest, Run

MOST_ANSWERED = 12
"""Most guests whose own answers the index repeats; with more guests, these are on their pages only."""


class Brief(NamedTuple):
    """What the first page says of a guest beside its answers: little, so that all guests' fits in memory.

    Args:
        name: as it was given: not to be trusted.
        slug: the name of its files.
        any_summary: a row of the summary, for what is the same under every profile.
        memory_pages: pages of memory.
        never_touched: pages that hold nothing at the end.
        wired: whether devices wire all of its memory.
        is_cold: whether anything can be said of how long pages were idle.
        first_age: the first age that its page tells cold memory at, seconds; None where that is not known.
        idle: how long pages were idle at the end, seconds, and how many of each; nothing where that is not known.
        migrations: at 4 KB, the slowest link first.
    """

    name: str
    slug: str
    any_summary: dict[str, Any]
    memory_pages: int
    never_touched: int
    wired: bool
    is_cold: bool
    first_age: float | None
    idle: tuple[tuple[float, int], ...]
    migrations: list[dict[str, Any]]

    def idle_pages(self, age: float) -> int:
        """Return the touched pages that were idle for an age, seconds."""
        return sum(pages for idle, pages in self.idle if idle >= age)


def brief(guest: Guest) -> Brief:
    """Return what the first page says of a guest."""
    return Brief(
        guest.name,
        guest.slug,
        guest.any_summary,
        guest.about["memory_pages"],
        never_touched(guest),
        bool(devices(guest)),
        bool(cold(guest)),
        first_age(guest),
        idle_by_age(guest),
        migrations(guest),
    )


class Line(NamedTuple):
    """A guest as the index shows it."""

    guest: Brief
    found: list[Standing]
    answers: list[Answer]

    @property
    def link(self) -> str:
        """Where its page is."""
        return f"guests/{self.guest.slug}.html"

    def sharing(self, known: list[Assumptions]) -> Line:
        """Return the same with assumptions that are among the known ones, to which others are added: one copy for all guests."""
        found = [
            at._replace(estimates=tuple(estimate.sharing(known) for estimate in at.estimates))
            for at in self.found
        ]
        return self._replace(found=found)

    def worst(self) -> tuple[bool, float]:
        """Return the key of the order: the highest estimated share under any profile; without times, the cost."""
        shares = [at.share for at in self.found if at.share is not None]
        return (True, max(shares)) if shares else (False, max(at.seconds for at in self.found))


def index_page(run: Run, lines: Sequence[Line]) -> dict[str, Any]:
    """Return all that the template of the index needs; `lines` are in the order of the run."""
    ordered = sorted(lines, key=Line.worst, reverse=True)
    return {
        "headline": headline(run, ordered),
        "approximated": approximated_of(run.about["guests"]),
        "unverified": unverified(run.about["guests"]),
        "outside": outside_of_guests([line.guest.any_summary for line in ordered]),
        "superpages": superpages(run),
        "answers": fleet_answers(ordered) if len(ordered) > 1 else [],
        "rows": [_row(line) for line in ordered],
        "many": len(ordered) > MOST_ANSWERED,
        "guests": [
            {"name": line.guest.name, "link": line.link, "answers": line.answers}
            for line in (ordered if len(ordered) <= MOST_ANSWERED else [])
        ],
    }


def headline(run: Run, lines: Sequence[Line]) -> str:
    """Return what was replayed."""
    rows = [line.guest.any_summary for line in lines]
    accesses = sum(row["reads"] + row["writes"] + row["fetches"] for row in rows)
    return (
        f"{count(len(lines), 'guest')} under {count(len(run.profiles), 'profile')}: {count(accesses, 'access', 'accesses')} "
        f"in {count(sum(row['rows'] for row in rows), 'row')}, {memory(sum(row['pages_touched'] for row in rows))} touched."
    )


def superpages(run: Run) -> str:
    """Return whose superpages the run shows; empty if no profile has any that later releases would not make."""
    notes = (superpages_note(profile) for profile in run.profiles)
    later = [profile for profile in run.profiles if is_later(profile)]
    named = ["Profiles without @ are of FreeBSD 10.0."] if 0 < len(later) < len(run.profiles) else []
    return " ".join(dict.fromkeys(filter(None, [*named, *notes, *map(daemon_note, later)])))


def fleet_answers(lines: Sequence[Line]) -> list[Answer]:
    """Return the answers for all guests of a run together; `lines` begin with the costliest guest."""
    together = total([line.found for line in lines])
    profiles = runs_answer(together) if together[0].compared else profile_answer(together)
    mind = warning_of_guests([line.guest.any_summary for line in lines])
    return [
        answer._replace(sentence=answer.sentence + mind)
        for answer in (
            _cost(lines, together),
            profiles._replace(anchor="guests"),
            _reclaim(lines),
            _migrate(lines),
        )
    ]


def _cost(lines: Sequence[Line], together: Sequence[Standing]) -> Answer:
    first = together[0]
    line = lines[0]
    worst = max(line.found, key=lambda at: at.seconds)
    sentence = (
        f"Under {first.profile} they took {count(first.exits, 'VM exit')} and "
        f"{count(first.ipis, 'IPI')}. The costliest is {line.guest.name} under {worst.profile}: {worst.estimated()}."
    )
    return Answer("What did these guests cost?", count(first.exits, "exit"), sentence, "guests")


def _reclaim(lines: Sequence[Line]) -> Answer:
    """What can be reclaimed? Pages of several guests add up at one age alone: the shortest first age of any of them."""
    question = RECLAIM
    guests = [line.guest for line in lines]
    touched = sum(guest.any_summary["pages_touched"] for guest in guests)
    whole = sum(guest.memory_pages for guest in guests)
    untouched = sum(guest.never_touched for guest in guests)
    gone = sum(
        (guest.any_summary[name] or 0) for guest in guests for name in ("pages_unmapped", "pages_freed")
    )
    back = f" {memory(gone)} was given back, which is in none of this." if gone else ""
    never = f"{memory(untouched)} of their {memory(whole)} was never touched.{back}"
    free = [guest for guest in guests if not guest.wired]
    timed = [(guest, guest.first_age) for guest in free if guest.first_age is not None]
    if not timed:
        why = (
            " How long their pages were idle is on each guest's page."
            if any(guest.is_cold for guest in free)
            else ""
        )
        return Answer(question, f"{memory(untouched)} untouched", f"{never}{why}", "guests")
    age = min(age for _, age in timed)
    pages = sum(guest.idle_pages(age) for guest, _ in timed)
    of = "" if len(timed) == len(guests) else f" in {len(timed)} of {len(guests)} guests"
    sentence = (
        f"Of the {memory(touched)} they touched, {memory(pages)}{of} had been idle for {seconds(age)} or longer when "
        f"their traces ended. {never}"
    )
    return Answer(question, f"{memory(pages)} cold for {seconds(age)}", sentence, "guests")


def _migrate(lines: Sequence[Line]) -> Answer:
    question = "Can they migrate?"
    estimated = [(line.guest.name, rows) for line in lines if (rows := line.guest.migrations)]
    if not estimated:
        return Answer(
            question, "not estimated", "No guest could be estimated; their pages say why.", "guests"
        )
    good = [(name, row) for name, rows in estimated for row in rows if row["converges"]]
    least = {name: row["gbit_per_second"] for name, row in reversed(good)}
    stuck = [name for name, _ in estimated if name not in least]
    parts = []
    if least:
        hardest = max(least.items(), key=lambda item: item[1])
        parts.append(
            f"{hardest[0]} needs the most: {hardest[1]:g} Gbit/s." if len(set(least.values())) > 1 else ""
        )
    if stuck:
        shown = listed([*stuck[:3], *([f"{len(stuck) - 3} more"] if len(stuck) > 3 else [])])
        parts.append(f"Over no link of the sweep: {shown}.")
    if len(estimated) < len(lines):
        parts.append(f"{count(len(lines) - len(estimated), 'guest')} could not be estimated.")
    figure = f"{len(least)} of {len(lines)}" + (f", at {max(least.values()):g} Gbit/s" if least else "")
    rule = f"Pre-copy at 4 KB with a pause of at most {seconds(estimated[0][1][0]['downtime_target_s'])}."
    tone = "good" if len(least) == len(lines) else "bad" if stuck else ""
    return Answer(question, figure, " ".join([rule, *filter(None, parts)]), "guests", tone)


def _row(line: Line) -> dict[str, Any]:
    """Return a guest's row: cost, exits and IPIs, one cell per profile; then what can be reclaimed, and where it can migrate."""
    found = line.found
    bases = [at.base for at in found]
    return {
        "name": line.guest.name,
        "link": line.link,
        "blocks": [
            ("cost", cost_cells(found)),
            ("exits", cells([at.exits for at in found], [f"{at.exits:,}" for at in found], bases)),
            ("IPIs", cells([at.ipis for at in found], [f"{at.ipis:,}" for at in found], bases)),
        ],
        "answers": [answer for answer in line.answers if answer.question in {RECLAIM, MIGRATE}],
    }
