"""The sections of a guest's page, in their order: each says which tables it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eptreplay.report.sections.costs import costs
from eptreplay.report.sections.devices import wired
from eptreplay.report.sections.dirty import dirty
from eptreplay.report.sections.exits import exits
from eptreplay.report.sections.heat import heatmaps
from eptreplay.report.sections.host import causes, host_memory, swap_candidates
from eptreplay.report.sections.memory import idle, miss_ratio, working_set
from eptreplay.report.sections.migration import migration
from eptreplay.report.sections.others import first_rows
from eptreplay.report.sections.parts import Section
from eptreplay.report.sections.superpages import superpages
from eptreplay.report.sections.translations import translations
from eptreplay.report.sections.upgrade import has_upgrades, upgrade
from eptreplay.tables.schema import TABLES

if TYPE_CHECKING:
    from eptreplay.report.sections.parts import Context, Part

SECTIONS: Final = (
    Section("heat", "Where the accesses went", ("heatmap",), heatmaps),
    Section("exits-ipis", "Exits and IPIs", ("intervals",), exits, ("faults", "fault_intervals")),
    Section("causes-ipis", "What CPUs were interrupted for", ("ipis",), causes, ("invalidations",)),
    Section("cost", "What it cost", ("summary",), costs, ("costs",)),
    Section("upgrade", "What the upgrade cost or saved", ("summary",), upgrade, when=has_upgrades),
    Section("translations", "Translations", ("translations",), translations),
    Section("superpages-all", "Superpages", ("intervals",), superpages),
    Section("dirty", "Dirty tracking", ("dirty",), dirty, ("writers", "dirty_rate")),
    Section("migration", "Migration", ("migrations",), migration, ("migration_rounds",)),
    Section("working-set", "Working set", ("working_set",), working_set),
    Section("cold", "Cold memory", ("idle_age",), idle),
    Section("host", "Host memory and swapping", ("host_memory",), host_memory, ("swap_activity",)),
    Section("wired", "Wired memory and devices", ("wiring",), wired, ("passthrough",)),
    Section("swap", "Swap candidates", ("swap_candidates",), swap_candidates, ("cold_age",)),
    Section("miss-ratios", "Memory needed", ("miss_ratio",), miss_ratio),
)

ELSEWHERE: Final = frozenset({"summary", "pages", "returns"})
"""Tables that the page shows outside of sections, or that are for programs to compute with."""

SHOWN: Final = ELSEWHERE.union(*(section.needs + section.uses for section in SECTIONS))


def sections(context: Context) -> list[tuple[Section, Part]]:
    """Return the sections that the guest's tables have something for; tables that no section draws come last."""
    guest = context.guest
    found = [
        (section, section.build(context))
        for section in SECTIONS
        if all(guest.has(name) for name in section.needs) and section.when(context)
    ]
    rest = [table for table in TABLES if table.name not in SHOWN and guest.has(table.name)]
    if rest:
        others = Section("more-tables", "More tables", (), lambda of: first_rows(of, rest))
        found.append((others, others.build(context)))
    return found
