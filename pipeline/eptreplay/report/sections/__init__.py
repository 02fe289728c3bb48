"""The sections of a guest's page, in their order: each says which tables it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from eptreplay.report.sections.dirty import dirty
from eptreplay.report.sections.exits import exits
from eptreplay.report.sections.heat import heatmaps
from eptreplay.report.sections.memory import idle, miss_ratio, working_set
from eptreplay.report.sections.migration import migration
from eptreplay.report.sections.parts import Section
from eptreplay.report.sections.superpages import superpages

if TYPE_CHECKING:
    from eptreplay.report.sections.parts import Context, Part

SECTIONS: Final = (
    Section("heat", "Where the accesses went", ("heatmap",), heatmaps),
    Section("exits-ipis", "Exits and IPIs", ("intervals",), exits),
    Section("superpages-all", "Superpages", ("intervals",), superpages),
    Section("dirty", "Dirty tracking", ("dirty",), dirty),
    Section("migration", "Migration", ("migrations",), migration),
    Section("working-set", "Working set", ("working_set",), working_set),
    Section("cold", "Cold memory", ("idle_age",), idle),
    Section("miss-ratios", "Memory needed", ("miss_ratio",), miss_ratio),
)


def sections(context: Context) -> list[tuple[Section, Part]]:
    """Return the sections that the guest's tables have something for."""
    return [
        (section, section.build(context))
        for section in SECTIONS
        if all(context.guest.has(name) for name in section.needs)
    ]
