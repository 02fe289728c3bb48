"""Linux' tracepoints page_fault_user and page_fault_kernel as ftrace, trace-cmd and perf script print them."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.event_lines import OTHER_LINES, vcpus_of
from eptreplay.ingest.logs.lines import Log
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.logs.trace_events import KERNEL_HALF, op_of_error_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped

_LOG = Log(
    grammar(
        [
            *(
                Line(
                    f"{{stand {event}:}}{{head}}{event}: address={{address:hex}} ip={{skip blank}} error_code={{code:hex}}"
                )
                for event in ("page_fault_user", "page_fault_kernel")
            ),
            *OTHER_LINES,
        ]
    ),
    "not a line that ftrace, trace-cmd or perf script prints of a page fault",
)
_ORIGIN = Origin(
    "one page fault of a process; the CPU that took it stands for the vCPU",
    (Approximated.FAULTS_ONLY, Approximated.VIRTUAL, Approximated.NO_SIZE),
    virtual=True,
    time_unit="ns",
)


def _open(_options: Mapping[str, str]) -> Opened:
    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        known: dict[int, int] = {}
        for found in _LOG.read(stream, dropped):
            address = found.values["address"]
            yield Records(
                address=address,
                op=op_of_error_code(found.values["code"]),
                time=found.values["time"],
                vcpu=vcpus_of(found, known),
                space=np.where(address >= KERNEL_HALF, np.uint64(0), found.values["thread"]),
                place=found.place,
            )

    return Opened(_ORIGIN, read)


def _guess(head: bytes) -> bool:
    return (
        b"page_fault_user: address=" in head or b"page_fault_kernel: address=" in head
    ) and b"kvm_" not in head


FORMAT = Format(
    "page-faults",
    "Linux' page_fault_user and page_fault_kernel, by ftrace, trace-cmd or perf script",
    frozenset(),
    _open,
    _guess,
)
