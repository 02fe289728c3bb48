"""QEMU's plugin mem with print-accesses=on: every load and store of a guest, with its size."""

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

_HEADER = "insn_vaddr,insn_symbol,mem_vaddr,mem_hwaddr,access_size,access_type,mem_value"
_BITS = 8
_LOG = Log(
    grammar(
        [
            Line("0x{skip ,},{skip ,},0x{skip ,},0x{address:hex},{bits:dec},{op:word access},0x{skip blank}"),
            Line(_HEADER, "the line that names the columns"),
            Line("mem accesses: {x:dec}", "sums that the plugin prints"),
            Line("io accesses: {x:dec}", "sums that the plugin prints"),
        ],
        {"access": {"load": Op.READ, "store": Op.WRITE}},
    ),
    "not a line that the plugin mem prints",
)
_ORIGIN = Origin(
    "one load or store of a guest's instruction under emulation",
    (Approximated.NO_TIME, Approximated.NO_VCPU, Approximated.NO_FETCHES),
)


def _open(options: Mapping[str, str]) -> Opened:
    memory = qemu_ram(options)

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        for all_found in _LOG.read(stream, dropped):
            odd = (all_found.values["bits"] % _BITS != 0) | (all_found.values["bits"] > 1 << 15)
            found = without(all_found, odd, "a size that is no number of bytes", dropped.bad_records)
            found = without(found, memory.unsure(found.values["address"]), UNSURE, dropped.bad_records)
            yield Records(
                address=memory.physical(found.values["address"]),
                op=found.values["op"].astype(np.uint8),
                size=(found.values["bits"] // _BITS).astype(np.uint32),
                place=found.place,
            )

    return Opened(_ORIGIN, read)


def _guess(head: bytes) -> bool:
    return head.startswith(_HEADER.encode())


FORMAT = Format(
    "qemu-mem",
    "QEMU's plugin mem, print-accesses=on",
    frozenset({"qemu-version", "pci-hole"}),
    _open,
    _guess,
)
