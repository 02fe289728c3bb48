r"""Nested page faults of a bhyve guest, as one line of D prints them from the probe vmm:vmx:exit:nestedfault.

    dtrace -qn 'vmm:vmx:exit:nestedfault { printf("%d %d 0x%x 0x%x\n", timestamp, arg1, arg3, arg4); }' | sort -n

A line has the time (ns), the vCPU, the guest-physical address, and the exit qualification: bit 0 a read, bit 1 a write,
bit 2 a fetch (Intel SDM 3C, table "Exit Qualification for EPT Violations").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.lines import Log, without
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.logs.trace_events import WITHOUT_ACCESS, op_of_ept_violation
from eptreplay.ingest.trace.schema import VCPUS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped

_LOG = Log(
    grammar(
        [
            Line("{_}{time:dec} {vcpu:dec} 0x{address:hex} 0x{qualification:hex}"),
            Line("{_}", "empty lines"),
            Line("dtrace:{rest}", "messages of dtrace"),
        ]
    ),
    "not a line of four numbers: time, vCPU, address, exit qualification",
)
_ORIGIN = Origin(
    "one nested page fault of a guest",
    (Approximated.FAULTS_ONLY, Approximated.NO_SIZE),
    time_unit="ns",
)


def _read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
    for all_found in _LOG.read(stream, dropped):
        found = without(
            all_found, all_found.values["vcpu"] >= VCPUS_MAX, "a vCPU that no guest has", dropped.bad_records
        )
        found = without(
            found, found.values["qualification"] & np.uint64(7) == 0, WITHOUT_ACCESS, dropped.bad_records
        )
        yield Records(
            address=found.values["address"],
            op=op_of_ept_violation(found.values["qualification"]),
            time=found.values["time"],
            vcpu=found.values["vcpu"].astype(np.uint16),
            place=found.place,
        )


def _open(_options: Mapping[str, str]) -> Opened:
    return Opened(_ORIGIN, _read)


FORMAT = Format(
    "bhyve-faults",
    "DTrace's probe vmm:vmx:exit:nestedfault of bhyve (docs/import.md)",
    frozenset(),
    _open,
    None,
)
