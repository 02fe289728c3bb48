"""Native traces as libCacheSim's lcs of version 2: one request a row, with its kind, and its vCPU as the tenant."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.binary.cache_requests import Operation
from eptreplay.ingest.binary.lcs_layout import HEADER_BYTES, MAGIC, REQUESTS, WRITTEN_VERSION
from eptreplay.ingest.binary.page_requests import LOST, requests_of
from eptreplay.ingest.importing.format import Export
from eptreplay.ingest.trace.schema import PAGE_SIZE, Op

if TYPE_CHECKING:
    from eptreplay.ingest.binary.page_requests import Found
    from eptreplay.ingest.trace.guest_trace import GuestTrace


def _write(trace: GuestTrace, stream: BinaryIO) -> int:
    """Write the header and all accesses of a trace; return how many they are."""
    with requests_of(trace) as found:
        stream.write(header(found))
        for rows in found.rows():
            requests = np.zeros(len(rows.page), REQUESTS[WRITTEN_VERSION])
            operation = np.where(rows.op == Op.WRITE, Operation.WRITE, Operation.READ).astype(np.uint32)
            requests["time"], requests["object"] = rows.seconds, rows.page
            requests["size"], requests["next"] = PAGE_SIZE, rows.following
            requests["op_tenant"] = operation | rows.vcpu.astype(np.uint32) << np.uint32(8)
            stream.write(requests.tobytes())
        return found.accesses


def header(found: Found) -> bytes:
    """Return the header: the numbers around it, the version, and the statistics that are known."""
    statistics = (
        1,
        found.accesses,
        found.pages,
        found.accesses * PAGE_SIZE,
        found.pages * PAGE_SIZE,
        found.first_second,
        found.last_second,
        found.accesses - found.writes,
        found.writes,
        0,
        PAGE_SIZE,
        PAGE_SIZE,
    )
    begin = MAGIC + struct.pack(f"<Q{len(statistics)}q", WRITTEN_VERSION, *statistics)
    return begin.ljust(HEADER_BYTES - len(MAGIC), b"\0") + MAGIC


EXPORT = Export(
    name="lcs",
    title="libCacheSim lcs, version 2",
    lost=f"{LOST}; fetches: they are reads",
    write=_write,
)
