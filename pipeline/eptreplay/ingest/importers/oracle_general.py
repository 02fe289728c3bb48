"""libCacheSim's oracleGeneral: requests of 24 bytes, without a header.

| bytes | |
|---|---|
| 0 | time, uint32, seconds |
| 4 | object, uint64 |
| 12 | size of the object, uint32, bytes |
| 16 | number of the next request for it, int64, from 0; -1 or 2^63 - 1: none |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.binary.blocks import whole_records
from eptreplay.ingest.binary.cache_requests import NEVER, REQUEST, Requests, objects_option, origin_of
from eptreplay.ingest.importing.format import Approximated, Format, Opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped
    from eptreplay.ingest.importing.records import Records

_TELLING = 4
"""Requests that have to be followed, as they say, by one for the same object, before a trace is known by that."""


def _open(options: Mapping[str, str]) -> Opened:
    """Apply the options: what the number of an object is."""
    objects = objects_option(options)

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        requests = Requests(objects, REQUEST, 0, dropped)
        for offset, block in whole_records(stream, REQUEST.itemsize, dropped):
            yield requests.records(offset, block)

    record = "one request to a cache, taken for a read"
    return Opened(origin_of(objects, record, Approximated.NO_VCPU), read)


def _guess(head: bytes) -> bool:
    """Return whether times never go back, and requests are followed by what they say."""
    count = len(head) // REQUEST.itemsize
    requests = np.frombuffer(head, REQUEST, count)
    number = np.arange(count)
    following = requests["next"]
    never = np.isin(following, NEVER)
    linked = np.flatnonzero(~never & (following > number) & (following < count))
    return bool(
        len(linked) >= _TELLING
        and (never | (following > number)).all()
        and (np.diff(requests["time"].astype(np.int64)) >= 0).all()
        and (requests["object"][linked] == requests["object"][following[linked]]).all()
        and (requests["size"] > 0).any()
    )


FORMAT = Format(
    name="oracleGeneral",
    title="libCacheSim oracleGeneral (.oracleGeneral.bin, .oracleGeneral.zst)",
    options=frozenset({"objects"}),
    open=_open,
    guess=_guess,
)
