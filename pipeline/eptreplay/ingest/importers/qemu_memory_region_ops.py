"""QEMU's trace events memory_region_ops_*: what vCPUs, and QEMU itself, do to ports and registers of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.logs.lines import Log
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from collections.abc import Mapping


_FIELDS = "mr 0x{skip blank} addr 0x{address:hex} value 0x{skip blank} size {size:dec}"
_LOG = Log(
    grammar(
        [
            Line(f"{head}memory_region_ops_{kind} cpu {cpu} {_FIELDS}{{op={op}}}{name}")
            for head in ("", "{process:dec}@{seconds:fraction 9}:")
            for kind, op in (("read", Op.READ), ("write", Op.WRITE))
            for cpu in ("{vcpu:dec}", "-1{vcpu=0}")
            for name in (" name '{rest}", "")
        ]
    ),
    "not a line of the events memory_region_ops_read and _write",
)
_ORIGIN = Origin(
    "one access to a port or register of a device; those of QEMU itself are vCPU 0's",
    (Approximated.DEVICES_ONLY, Approximated.NO_TIME),
)


def _open(_options: Mapping[str, str]) -> Opened:
    return Opened(_ORIGIN, _LOG.accesses)


def _guess(head: bytes) -> bool:
    return b"memory_region_ops_" in head.partition(b"\n")[0]


FORMAT = Format("qemu-memory-region-ops", "QEMU, -trace 'memory_region_ops_*'", frozenset(), _open, _guess)
