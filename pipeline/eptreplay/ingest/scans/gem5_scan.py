"""The pass over the messages of a gem5 packet trace: protocol buffers, each after its length.

Numbers are varints: seven bits a byte, the lowest first, the top bit set in all but the last. A message is a row of fields,
each after a key that is its number times 8 and its wire type: 0 varint, 1 eight bytes, 2 a length and as many bytes, 5 four bytes.
Fields of a packet (src/proto/packet.proto of gem5): 1 tick, 2 cmd, 3 addr, 4 size, 5 flags, 6 pkt_id, 7 pc.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eptreplay.compiled import entry_point, kernel

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Number: TypeAlias = int | np.int64

READ, WRITE, FETCH = np.uint8(0), np.uint8(1), np.uint8(2)

# What a command is, by its number; both: a read, and then a write.
SKIPPED, READS, WRITES, BOTH = np.uint8(0), np.uint8(1), np.uint8(2), np.uint8(3)
COMMANDS = 128
"""Numbers of commands that are told apart; a higher one is none."""

# Counters behind those of the commands.
NO_BYTES, BAD_COMMAND, BAD_MESSAGE, MISSING_FIELD = COMMANDS, COMMANDS + 1, COMMANDS + 2, COMMANDS + 3
SLOTS = COMMANDS + 4

_INST_FETCH = np.uint64(0x100)
_FIELDS = 8
_REQUIRED = 0b11110
"""Bits of the fields that every packet has: tick, cmd, addr, size."""
MESSAGE_BYTES = 1 << 20
"""A longer message is none."""
_LENGTH_BYTES = 5
_VARINT_BYTES = 10
_UNFINISHED, _WRONG = -1, -2


class Packets(NamedTuple):
    """Accesses found, each array of shape (n,).

    Args:
        address: uint64.
        op: uint8.
        tick: uint64.
        size: uint32.
        requestor: uint64, pkt_id of the packet; 0 if it has none.
        begin: int32, first byte of the message's length in the block.
    """

    address: NDArray[np.uint64]
    op: NDArray[np.uint8]
    tick: NDArray[np.uint64]
    size: NDArray[np.uint32]
    requestor: NDArray[np.uint64]
    begin: NDArray[np.int32]


@entry_point
def scan_packets(
    data: NDArray[np.uint8],
    begin: Number,
    kinds: NDArray[np.uint8],
    found: Packets,
    left: NDArray[np.int64],
    first: NDArray[np.int64],
    fields: NDArray[np.uint64],
    ends: NDArray[np.int64],
) -> Number:
    """Enter the accesses of whole messages, as long as there is room and nothing is wrong.

    Args:
        data: shape (n,), bytes.
        begin: where a message begins.
        kinds: shape (COMMANDS,), what each command is.
        found: takes accesses.
        left: shape (SLOTS,), takes how many packets are left out.
        first: shape (SLOTS,), takes where the first one of each begins.
        fields: shape (8,), room for the fields of a message.
        ends: shape (2,), takes where the first message that was not taken in begins, and 1 if its length is wrong.

    Returns:
        The number of accesses.
    """
    out: Number = 0
    at = begin
    ends[1] = 0
    while out + 2 <= len(found.address):
        length, body = _varint(data, at, min(len(data), at + _LENGTH_BYTES))
        if body == _WRONG or length > np.uint64(MESSAGE_BYTES):
            ends[1] = 1
            break
        if body == _UNFINISHED:
            ends[1] = np.int64(at + _LENGTH_BYTES <= len(data))
            break
        end = body + np.int64(length)
        if end > len(data):
            break
        present = _message(data, body, end, fields)
        if present < 0:
            _leave(left, first, BAD_MESSAGE, at)
        elif present & _REQUIRED != _REQUIRED:
            _leave(left, first, MISSING_FIELD, at)
        else:
            out = _enter(fields, at, out, kinds, found, left, first)
        at = end
    ends[0] = at
    return out


@kernel
def _leave(left: NDArray[np.int64], first: NDArray[np.int64], slot: Number, at: Number) -> Number:
    """Count a packet that is left out."""
    if left[slot] == 0:
        first[slot] = at
    left[slot] += 1
    return 0


@kernel
def _varint(data: NDArray[np.uint8], at: Number, end: Number) -> tuple[np.uint64, Number]:
    """Return a number and where it ends; _UNFINISHED if the bytes end before it, _WRONG if it has too many."""
    value, shift = np.uint64(0), np.uint64(0)
    last = min(end, at + _VARINT_BYTES)
    while at < last:
        byte = data[at]
        value |= np.uint64(byte & np.uint8(127)) << shift
        at += 1
        if byte < np.uint8(128):
            return value, at
        shift += np.uint64(7)
    return value, _UNFINISHED if at == end else _WRONG


@kernel
def _message(  # noqa: C901 - a wire type after the other
    data: NDArray[np.uint8], at: Number, end: Number, fields: NDArray[np.uint64]
) -> Number:
    """Read the fields of a message; return which ones it has, a bit each, or _WRONG."""
    present: Number = 0
    fields[5] = fields[6] = np.uint64(0)
    while at < end:
        key, at = _varint(data, at, end)
        if at < 0:
            return _WRONG
        number, wire = np.int64(key >> np.uint64(3)), np.int64(key & np.uint64(7))
        value = np.uint64(0)
        if wire == 0:
            value, at = _varint(data, at, end)
        elif wire == 1:
            at += 8
        elif wire == 2:
            value, at = _varint(data, at, end)
            if at >= 0:
                at = at + np.int64(value) if value <= np.uint64(end) else _WRONG
        elif wire == 5:
            at += 4
        else:
            return _WRONG
        if at < 0 or at > end or number == 0:
            return _WRONG
        if number < _FIELDS:
            if wire != 0:
                return _WRONG
            fields[number] = value
            present |= 1 << number
    return present


@kernel
def _enter(
    fields: NDArray[np.uint64],
    at: Number,
    out: Number,
    kinds: NDArray[np.uint8],
    found: Packets,
    left: NDArray[np.int64],
    first: NDArray[np.int64],
) -> Number:
    """Enter the accesses of a packet; return how many there are now."""
    command, size = fields[2], fields[4]
    if command >= np.uint64(COMMANDS):
        _leave(left, first, BAD_COMMAND, at)
        return out
    kind = kinds[np.int64(command)]
    if kind == SKIPPED:
        _leave(left, first, np.int64(command), at)
        return out
    if size == np.uint64(0) or size >> np.uint64(32):
        _leave(left, first, NO_BYTES if size == np.uint64(0) else MISSING_FIELD, at)
        return out
    ops = (FETCH if fields[5] & _INST_FETCH else READ, WRITE)
    for number in range(2):
        if kind == BOTH or (kind == WRITES) == (number == 1):
            found.address[out], found.op[out], found.tick[out] = fields[3], ops[number], fields[1]
            found.size[out], found.requestor[out], found.begin[out] = np.uint32(size), fields[6], at
            out += 1
    return out
