"""DAMON's tracepoint damon_aggregated as perf script prints it: regions, and in how many samples each was accessed.

DAMON takes all pages of a region to be accessed alike and samples one of them, so a record becomes one row for every
page of its region, with the count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.importing.format import ANY_LENGTH, Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.event_lines import OTHER_LINES
from eptreplay.ingest.logs.lines import Log, Matched, without
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped

_EVENT = "damon_aggregated"
_REGION = f"{{stand {_EVENT}:}}{{head}}{_EVENT}: target_id={{target:dec}} nr_regions={{regions:dec}} {{start:dec}}-{{end:dec}}: "
_LOG = Log(
    grammar([Line(_REGION + "{count:dec} {age:dec}"), Line(_REGION + "{count:dec}"), *OTHER_LINES]),
    "not a line that perf script prints of damon_aggregated",
)
_LONGEST = 1 << 30
"""Bytes of a longer region are several records."""


def _open(options: Mapping[str, str]) -> Opened:
    virtual = options.get("addresses") == "virtual"
    origin = Origin(
        "one page of a region that DAMON saw accessed in one aggregation interval; count is in how many of its samples",
        (
            Approximated.REGIONS,
            Approximated.SAMPLED,
            Approximated.NO_WRITES,
            Approximated.NO_VCPU,
            *((Approximated.VIRTUAL,) if virtual else ()),
        ),
        virtual=virtual,
        time_unit="ns",
        longest=ANY_LENGTH,
    )

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        for all_found in _LOG.read(stream, dropped):
            found = without(
                all_found,
                all_found.values["end"] <= all_found.values["start"],
                "a region that ends where it begins, or before",
                dropped.bad_records,
            )
            found = without(
                found,
                found.values["count"] >> np.uint64(32) != 0,
                "a count of more than 32 bits",
                dropped.bad_records,
            )
            yield _records(
                without(found, found.values["count"] == 0, "regions without an access", dropped.leave_out),
                virtual=virtual,
            )

    return Opened(origin, read)


def _records(found: Matched, *, virtual: bool) -> Records:
    """Return regions as accesses as long as they are, those of more than 32 bits in pieces."""
    start, end = found.values["start"], found.values["end"]
    pieces = ((end - start + np.uint64(_LONGEST - 1)) // np.uint64(_LONGEST)).astype(np.int64)
    source = np.repeat(np.arange(len(start)), pieces)
    number = np.arange(len(source)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    address = start[source] + number.astype(np.uint64) * np.uint64(_LONGEST)
    return Records(
        address=address,
        op=np.full(len(source), Op.READ, np.uint8),
        time=found.values["time"][source],
        size=np.minimum(end[source] - address, np.uint64(_LONGEST)).astype(np.uint32),
        count=found.values["count"][source].astype(np.uint32),
        space=found.values["target"][source] if virtual else None,
        place=lambda index: found.place(int(source[index])),
    )


def _guess(head: bytes) -> bool:
    return b"damon_aggregated: target_id=" in head


FORMAT = Format("damon", "DAMON's damon_aggregated, by perf script", frozenset({"addresses"}), _open, _guess)
