"""What the upgrade to a later FreeBSD cost or saved: the same CPU under 10.0 and under a later release, side by side."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eptreplay.report.answers.differences import NOT_APART, difference_text, distinguishable, equal, range_of
from eptreplay.report.answers.standing import exits
from eptreplay.report.read.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eptreplay.report.answers.standing import Standing
    from eptreplay.report.read.run import Guest

QUESTION: Final = "What did the upgrade cost or save?"

OF_KERNEL: Final = ("allow_2m_x_ept=", "fault_2m=")
"""How the overrides begin that a profile of 10.0 cannot have."""


class Changed(NamedTuple):
    """A number that an upgrade may change: its name, what it means, and how it is read from a row of the summary."""

    name: str
    meaning: str
    of: Callable[[Mapping[str, Any]], int]


CHANGED: Final = (
    Changed(
        "superpages made",
        "2 MB mappings made by promotion or at once (promotions + mappings)",
        lambda row: row["promotions"] + row["mappings"],
    ),
    Changed("exits", "VM exits: accesses that left the guest, however they were resolved", exits),
    Changed(
        "IPIs",
        "interprocessor interrupts to CPUs that run the guest (ipis + x86_ipis)",
        lambda row: row["ipis"] + row["x86_ipis"],
    ),
    Changed("dirty calls", "calls of vm_page_dirty (dirty_calls)", lambda row: row["dirty_calls"]),
    Changed(
        "faults that mapped 2 MB",
        "faults on a page in memory that mapped the 2 MB around it (soft_maps)",
        lambda row: row.get("soft_maps", 0),
    ),
    Changed(
        "faults kept from it",
        "faults that would have, but for the 2m_x rule (soft_fails)",
        lambda row: row.get("soft_fails", 0),
    ),
    Changed(
        "reads that dirtied a page",
        "reads and fetches among these: the fault type keeps the WRITE bit, so the page is dirty without a write (soft_fail_reads)",
        lambda row: row.get("soft_fail_reads", 0),
    ),
)


class Upgrade(NamedTuple):
    """A CPU under 10.0 and under a later release: how both did, and their numbers among the profiles."""

    before: Standing
    after: Standing
    numbers: tuple[int, int]


def upgrades(found: Sequence[Standing]) -> list[Upgrade]:
    """Return every profile of a later release with the one of the same CPU under 10.0, where the run has it."""
    old = {at.profile: number for number, at in enumerate(found) if "@" not in at.profile}
    pairs = [
        (old[name], number)
        for number, at in enumerate(found)
        if "@" in at.profile and (name := _under_10_0(at.profile)) in old
    ]
    return [Upgrade(found[first], found[second], (first, second)) for first, second in pairs]


def _under_10_0(profile: str) -> str:
    """Return the name of the same profile under 10.0: without its release, and without what a later kernel alone has."""
    name, _, overrides = re.sub(r"@[^:]*", "", profile).partition(":")
    kept = [each for each in overrides.split(",") if each and not each.startswith(OF_KERNEL)]
    return f"{name}:{','.join(kept)}" if kept else name


def upgrade_figures(guest: Guest, found: Sequence[Standing]) -> tuple[str, str] | None:
    """Return figure and sentence of the answer about the upgrade; None where no CPU was replayed under both.

    Of several, it is the one that changes most by estimated cost.
    """
    pairs = upgrades(found)
    if not pairs:
        return None
    most = max(pairs, key=lambda pair: abs(pair.after.seconds - pair.before.seconds))
    rows = guest.summary[most.before.profile], guest.summary[most.after.profile]
    numbers = [f"{each.name} {each.of(rows[0]):,} -> {each.of(rows[1]):,}" for each in CHANGED[:4]]
    cost = difference_text(most.before, most.after) or "the same"
    if distinguishable(most.before, most.after):
        figure = f"{cost} by estimated cost"
    elif not equal(most.before, most.after):
        figure = NOT_APART
    else:
        figure = (
            "nothing" if all(each.of(rows[0]) == each.of(rows[1]) for each in CHANGED) else "the same cost"
        )
    sentence = (
        f"From {most.before.profile} under 10.0 to {most.after.profile}: {'; '.join(numbers)}; "
        f"estimated cost {range_of(most.before, most.after)}.{_kept_from(rows[1])}"
    )
    return figure, sentence


def _kept_from(row: Mapping[str, Any]) -> str:
    """Say what the 2m_x rule did to faults on pages in memory; empty if nothing."""
    fails, reads = row.get("soft_fails", 0), row.get("soft_fail_reads", 0)
    if not fails:
        return ""
    return (
        f" {count(fails, 'fault')} would have mapped 2 MB, but for the 2m_x rule; the fault type keeps the WRITE bit then, so "
        f"{count(reads, 'read or fetch', 'reads and fetches')} among them made their page dirty, too."
    )
