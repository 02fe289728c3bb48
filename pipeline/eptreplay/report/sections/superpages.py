"""Superpages: how much of the guest they cover, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.profiles import daemon_note, superpages_note
from eptreplay.report.charts.chart import Caption
from eptreplay.report.charts.lines import Series
from eptreplay.report.charts.time_charts import group_last
from eptreplay.report.sections.parts import Part, over_time, summed

if TYPE_CHECKING:
    from eptreplay.report.sections.parts import Context

EVENTS = (
    (
        "promotions",
        "Promotions",
        "superpages",
        "512 mappings of 4 KB became one of 2 MB (vm.pmap.pde.promotions).",
    ),
    ("demotions", "Demotions", "superpages", "2 MB mappings split into 512 (vm.pmap.pde.demotions)."),
    ("p_failures", "Failed promotions", "attempts", "Promotions tried in vain (vm.pmap.pde.p_failures)."),
    (
        "mappings",
        "Direct mappings",
        "superpages",
        "2 MB mappings made at once, without promotion (vm.pmap.pde.mappings).",
    ),
)


def superpages(context: Context) -> Part:
    """Return the superpages that stand, and promotions, demotions and failures over time."""
    guest = context.guest
    made = summed(guest, ("promotions", "mappings"))
    split = summed(guest, ("demotions",))
    standing = [
        Series(line.name, np.cumsum(line.values - gone.values), line.profile)
        for line, gone in zip(made, split, strict=True)
    ]
    notes = [*(superpages_note(profile) for profile in context.profiles), *map(daemon_note, context.profiles)]
    return Part(
        texts=[*dict.fromkeys(filter(None, notes))],
        charts=[
            over_time(
                context,
                Caption(
                    "superpages",
                    "Superpages standing",
                    "superpages of 2 MB",
                    "Mappings of 2 MB at the end of the interval: promotions + direct mappings - demotions since the start.",
                ),
                standing,
                join=group_last,
            ),
            *(
                over_time(
                    context,
                    Caption(name, title, f"{unit} per interval", about),
                    summed(guest, (name,)),
                    log=True,
                )
                for name, title, unit, about in EVENTS
            ),
        ],
    )
