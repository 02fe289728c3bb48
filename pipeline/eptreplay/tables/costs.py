"""The table of costs: made from the other tables when pages are rendered, for what is assumed then."""

from __future__ import annotations

from typing import Final

from eptreplay.tables.columns import GUEST, PROFILE, Column, Table

_SHARE: Final = (
    "share of the run time of the guest's vCPUs, the trace's time for each; null where time is not known"
)

COSTS: Final = Table(
    "costs",
    "kind of event, guest and profile: what it is estimated to have cost, or the total; what never occurred is "
    "left out; written when pages are rendered (docs/costs.md)",
    (
        GUEST,
        PROFILE,
        Column(
            "term",
            "string",
            "",
            "what was counted, as in docs/costs.md; total: all of them but those of devices",
        ),
        Column(
            "kind",
            "string",
            "",
            "a part of the term: what the guest did, or on whose behalf (as in `ipis`); empty: it has no parts",
        ),
        Column(
            "spent",
            "string",
            "",
            "cpu: cycles of a CPU; waiting: a vCPU stood still; device: a device worked while nobody waited",
        ),
        Column("events", "int64", "events", "how often; of the total: null"),
        Column("cycles", "double", "cycles", "what they cost: events times what each is assumed to cost"),
        Column(
            "cycles_low", "double", "cycles", "the same if every assumption is at the low end of its range"
        ),
        Column("cycles_high", "double", "cycles", "the same at the high ends"),
        Column("seconds", "double", "s", "the same as time of one CPU"),
        Column("seconds_low", "double", "s", "the least that it may be"),
        Column("seconds_high", "double", "s", "the most that it may be"),
        Column("share", "double", "", _SHARE),
        Column("share_low", "double", "", "the least that it may be; null likewise"),
        Column("share_high", "double", "", "the most that it may be; null likewise"),
    ),
)
