"""libCacheSim's lcs: a header, and requests whose layout is that of its version.

| bytes of the header | |
|---|---|
| 0 | 123456789abcdef0h, uint64 |
| 8 | version, uint64, 1 to 8 |
| 16 | statistics: int64 each, version of them, requests, objects, bytes requested, bytes of objects, first and last second, reads, writes … |
| 8184 | the first number again, uint64; at 1016 in the first traces of versions 1 and 2, whose header is as much shorter |

A request of version 1 is one of oracleGeneral. In version 2 its size is followed by the operation (uint8) and the tenant (24 bits). From
version 3 on the size is an int64 and the tenant is followed by a time to live (uint32); versions 4 to 8 have 1, 2, 4, 8 or
16 further numbers (uint32) at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eptreplay.ingest.binary.cache_requests import REQUEST

MAGIC = (0x123456789ABCDEF0).to_bytes(8, "little")
HEADER_BYTES = 8192
OLD_HEADER_BYTES = 1024
WRITTEN_VERSION = 2

_BASE_2 = [("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("op_tenant", "<u4"), ("next", "<i8")]
_BASE_3 = [
    ("time", "<u4"),
    ("object", "<u8"),
    ("size", "<i8"),
    ("op_tenant", "<u4"),
    ("ttl", "<u4"),
    ("next", "<i8"),
]
REQUESTS: dict[int, np.dtype[Any]] = {
    1: REQUEST,
    2: np.dtype(_BASE_2),
    3: np.dtype(_BASE_3),
    **{version: np.dtype([*_BASE_3, ("features", "<u4", (1 << (version - 4),))]) for version in range(4, 9)},
}
"""By version."""
