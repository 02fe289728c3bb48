"""Bytes of a stream in blocks of whole records."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.importing.dropped import BadRecordError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped

BLOCK_BYTES = 1 << 20
"""About so many bytes are looked at together: they stay in a core's second cache."""

EMPTY = "there is nothing in it"


def at_byte(offset: int) -> str:
    """Say where a record stands."""
    return f"byte {offset:,}"


def read_full(stream: BinaryIO, count: int) -> bytes:
    """Read so many bytes, fewer only at the end: a pipe, or what decompresses, may give less than it is asked for."""
    pieces: list[bytes] = []
    while count > 0 and (piece := stream.read(count)):
        pieces.append(piece)
        count -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def whole_records(
    stream: BinaryIO,
    record_bytes: int,
    dropped: Dropped,
    head: bytes = b"",
    begin: int = 0,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield blocks of records of one length.

    Args:
        stream: the input.
        record_bytes: length of a record.
        dropped: takes the rest of a record that the input ends in.
        head: bytes of the first records that were read from the stream before.
        begin: bytes of the input before the first record.
        block_bytes: about so many are read at a time.

    Yields:
        The offset of a block from the first record, and its bytes, shape (n * record_bytes,).

    Raises:
        BadRecordError: the input is empty, or ends in the middle of a record.
    """
    wanted = block_bytes // record_bytes * record_bytes
    offset, block = 0, head
    while True:
        block += read_full(stream, wanted - len(block) % wanted)
        rest = len(block) % record_bytes
        whole = len(block) - rest
        if whole:
            yield offset, np.frombuffer(block, np.uint8, whole)
        elif not rest:
            break
        offset += whole
        if rest:
            reason = f"the input ends within a record of {record_bytes} bytes: it was cut off"
            dropped.bad_records(reason, 1, at_byte(begin + offset))
            return
        block = b""
    if not offset + begin:
        raise BadRecordError(EMPTY, at_byte(0))
