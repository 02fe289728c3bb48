"""libCacheSim's lcs: a header, and requests whose layout is that of its version."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from eptreplay.ingest.binary.blocks import EMPTY, at_byte, read_full, whole_records
from eptreplay.ingest.binary.cache_requests import Requests, objects_option, origin_of
from eptreplay.ingest.binary.lcs_layout import HEADER_BYTES, MAGIC, OLD_HEADER_BYTES, REQUESTS
from eptreplay.ingest.importing.dropped import BadRecordError
from eptreplay.ingest.importing.format import Format, Opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped
    from eptreplay.ingest.importing.records import Records


class Header(NamedTuple):
    """What precedes the requests.

    Args:
        version: of their layout.
        begin: byte of the first request.
    """

    version: int
    begin: int


def _open(options: Mapping[str, str]) -> Opened:
    """Apply the options: what the number of an object is."""
    objects = objects_option(options)

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        head = read_full(stream, HEADER_BYTES)
        header = read_header(head)
        request = REQUESTS[header.version]
        requests = Requests(objects, request, header.begin, dropped)
        blocks = whole_records(stream, request.itemsize, dropped, head[header.begin :], header.begin)
        for offset, block in blocks:
            yield requests.records(offset, block)

    return Opened(origin_of(objects, "one request to a cache; a tenant is a vCPU"), read)


def read_header(head: bytes) -> Header:
    """Read the header.

    Args:
        head: the first bytes of an input, all of a header if there are as many.

    Raises:
        BadRecordError: it is no lcs trace, or one of a version that is not known.
    """
    if not head:
        raise BadRecordError(EMPTY, at_byte(0))
    if head[:8] != MAGIC:
        wrong = ": their bytes are in the wrong order" if head[:8] == MAGIC[::-1] else ""
        raise BadRecordError(f"it does not begin with the numbers of an lcs trace{wrong}", at_byte(0))
    lengths = [length for length in (HEADER_BYTES, OLD_HEADER_BYTES) if head[length - 8 : length] == MAGIC]
    if not lengths:
        raise BadRecordError(
            "its header does not end with the numbers that it begins with: it was cut off or damaged",
            at_byte(0),
        )
    if head[8:9] == b"<":
        raise BadRecordError(
            "its header says by a text what a request is, as before version 1: it is too old", at_byte(8)
        )
    version = int.from_bytes(head[8:16], "little")
    if version not in REQUESTS:
        raise BadRecordError(f"its version is {version}; known are 1 to {max(REQUESTS)}", at_byte(8))
    return Header(version, lengths[0])


FORMAT = Format(
    name="lcs",
    title="libCacheSim lcs (.lcs, .lcs.zst)",
    options=frozenset({"objects"}),
    open=_open,
    guess=lambda head: head[:8] == MAGIC,
)
