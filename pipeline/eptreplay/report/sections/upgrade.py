"""What the upgrade cost or saved: every CPU under 10.0 and under later releases, number by number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.profiles import daemon_note
from eptreplay.report.answers.standing import standings
from eptreplay.report.answers.upgrade import CHANGED, upgrades
from eptreplay.report.sections.parts import Cell, Grid, Head, Part

if TYPE_CHECKING:
    from eptreplay.report.sections.parts import Context

FALSE_DIRT = (
    "A fault on a page in memory whose 2 MB are all there and dirty maps them at once. Where the 2m_x rule refuses that, the page is "
    "mapped alone, but the WRITE bit that was added to the access stays: a read makes the page dirty, and whoever collects dirty "
    "pages sees writes that the guest never made."
)


def has_upgrades(context: Context) -> bool:
    """Return whether a CPU was replayed under 10.0 and under a later release."""
    return bool(upgrades(standings(context.guest, context.profiles, context.assumed)))


def upgrade(context: Context) -> Part:
    """Return what changed from 10.0 to later releases, for every CPU that was replayed under both."""
    guest = context.guest
    pairs = upgrades(standings(guest, context.profiles, context.assumed))
    rows = []
    table = []
    for each in CHANGED:
        values = [
            (each.of(guest.summary[pair.before.profile]), each.of(guest.summary[pair.after.profile]))
            for pair in pairs
        ]
        rows.append((Head(each.name, each.meaning), [Cell(f"{old:,} -> {new:,}") for old, new in values]))
        table += [
            [each.name, pair.before.profile, pair.after.profile, old, new]
            for pair, (old, new) in zip(pairs, values, strict=True)
        ]
    link = context.files.table("upgrade", ["number", "from", "to", "before", "after"], table)
    notes = dict.fromkeys(filter(None, map(daemon_note, context.profiles)))
    false_dirt = any(guest.summary[pair.after.profile].get("soft_fail_reads") for pair in pairs)
    return Part(
        grids=[
            Grid(
                "upgrade-numbers",
                "From 10.0 to a later FreeBSD",
                "The same CPU and the same trace; the first number is under 10.0. What a number counts shows when you point at it.",
                link,
                [
                    Head("number"),
                    *(
                        Head(pair.after.profile, f"measured by {pair.before.profile}", pair.numbers[1])
                        for pair in pairs
                    ),
                ],
                rows,
            )
        ],
        texts=[*([FALSE_DIRT] if false_dirt else []), *notes],
        columns=1,
    )
