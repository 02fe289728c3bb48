"""QEMU's plugin execlog: every instruction of a guest, with the memory that it loads or stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.lines import Log, without
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.logs.qemu_ram import UNSURE, qemu_ram
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped

_INSTRUCTION = "{vcpu:dec}, 0x{skip ,}, 0x{skip ,}, {quoted}"
_LOG = Log(
    grammar(
        [
            Line(f"{_INSTRUCTION}", "instructions that touch no memory"),
            Line(
                f"{_INSTRUCTION}{{repeat}}, {{op:word access}}, 0x{{address:hex}}, {{ram:maybeword device}}{{skip ,}}"
                "{record}{again}"
            ),
        ],
        {"access": {"load": Op.READ, "store": Op.WRITE}, "device": {"ram": 1}},
    ),
    "not a line that execlog prints of a whole machine",
)
_ORIGIN = Origin(
    "one load or store of a guest's instruction under emulation",
    (Approximated.NO_TIME, Approximated.NO_SIZE, Approximated.NO_FETCHES),
)


def _open(options: Mapping[str, str]) -> Opened:
    memory = qemu_ram(options)

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        for all_found in _LOG.read(stream, dropped):
            found = without(all_found, all_found.values["ram"] == 0, "accesses to devices", dropped.leave_out)
            found = without(found, memory.unsure(found.values["address"]), UNSURE, dropped.bad_records)
            yield Records(
                address=memory.physical(found.values["address"]),
                op=found.values["op"].astype(np.uint8),
                vcpu=found.values["vcpu"].astype(np.uint16),
                place=found.place,
            )

    return Opened(_ORIGIN, read)


def _guess(head: bytes) -> bool:
    first = head.partition(b"\n")[0]
    return first[:1].isdigit() and first.count(b", 0x") >= 2 and b', "' in first


FORMAT = Format(
    "qemu-execlog",
    "QEMU's plugin execlog, of a whole machine",
    frozenset({"qemu-version", "pci-hole"}),
    _open,
    _guess,
)
