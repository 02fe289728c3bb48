"""Samples of `perf mem record` as `perf script -F comm,tid,cpu,time,event,addr,data_src` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.event_lines import OTHER_LINES, vcpus_of
from eptreplay.ingest.logs.lines import Log, without
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.logs.trace_events import KERNEL_HALF, NO_ACCESS, op_of_data_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped

_DATA = "{find : }{head}{stand |OP }{source:before}{address:before}{rest}"
_PHYSICAL = "{find : }{head}{stand |OP }{source:before}{virtual:before}{address:last}{rest}"
_BAD = "not a line that perf script prints of a memory access"
_LOGS = {
    False: Log(grammar([Line(_DATA), *OTHER_LINES]), _BAD),
    True: Log(grammar([Line(_PHYSICAL), *OTHER_LINES]), _BAD),
}
"""What lines look like, by whether the last word of a line is taken, the physical address."""


def _open(options: Mapping[str, str]) -> Opened:
    physical = options.get("addresses") == "physical"
    lacks = (Approximated.SAMPLED, Approximated.NO_SIZE, *(() if physical else (Approximated.VIRTUAL,)))
    origin = Origin(
        "one sampled load or store; the CPU that made it stands for the vCPU",
        lacks,
        virtual=not physical,
        time_unit="ns",
    )

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        threads: dict[int, int] = {}
        for all_found in _LOGS[physical].read(stream, dropped):
            none = op_of_data_source(all_found.values["source"]) == NO_ACCESS
            found = without(all_found, none, "neither loads, stores nor fetches", dropped.leave_out)
            none = found.values["address"] == 0
            found = without(found, none, "samples without an address", dropped.leave_out)
            address = found.values["address"]
            yield Records(
                address=address,
                op=op_of_data_source(found.values["source"]),
                time=found.values["time"],
                vcpu=vcpus_of(found, threads),
                space=None
                if physical
                else np.where(address >= KERNEL_HALF, np.uint64(0), found.values["thread"]),
                place=found.place,
            )

    return Opened(origin, read)


def _guess(head: bytes) -> bool:
    return b"|OP " in head


FORMAT = Format(
    "perf-mem",
    "perf mem record, by perf script -F comm,tid,cpu,time,event,addr,data_src[,phys_addr]",
    frozenset({"addresses"}),
    _open,
    _guess,
)
