"""Native traces as libCacheSim's oracleGeneral: one request a row, for its 4 KB page."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.binary.cache_requests import REQUEST
from eptreplay.ingest.binary.page_requests import LOST, requests_of
from eptreplay.ingest.importing.format import Export
from eptreplay.ingest.trace.schema import PAGE_SIZE

if TYPE_CHECKING:
    from eptreplay.ingest.trace.guest_trace import GuestTrace


def _write(trace: GuestTrace, stream: BinaryIO) -> int:
    """Write all accesses of a trace; return how many they are."""
    with requests_of(trace) as found:
        for rows in found.rows():
            requests = np.empty(len(rows.page), REQUEST)
            requests["time"], requests["object"] = rows.seconds, rows.page
            requests["size"], requests["next"] = PAGE_SIZE, rows.following
            stream.write(requests.tobytes())
        return found.accesses


EXPORT = Export(
    name="oracleGeneral",
    title="libCacheSim oracleGeneral",
    lost=f"{LOST}; vCPUs; kinds of access: all are reads",
    write=_write,
)
