"""gem5 packet traces: files written from the published layout, and counted by other means."""

from __future__ import annotations

import random
import struct
from collections import Counter

import numpy as np
import pytest
from tests.ingest.foreign import counts, read_all

from eptreplay.ingest.importers.gem5 import COMMANDS, FORMAT, nanoseconds
from eptreplay.ingest.importing.dropped import BadRecordError, Dropped
from eptreplay.ingest.trace.schema import Op

READ, WRITE, WRITEBACK, PREFETCH, SWAP, RESPONSE = 1, 4, 7, 11, 34, 2
FETCH_FLAG = 0x100


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def message(*fields: bytes) -> bytes:
    body = b"".join(fields)
    return varint(len(body)) + body


def header(tick_freq: int = 10**12, names: dict[int, str] | None = None) -> bytes:
    strings = [field(4, field(1, key) + field(2, name.encode())) for key, name in (names or {}).items()]
    return b"gem5" + message(field(1, b"system.monitor"), field(2, 0), field(3, tick_freq), *strings)


def packet(tick: int, cmd: int, addr: int, size: int, *more: bytes) -> bytes:
    return message(field(1, tick), field(2, cmd), field(3, addr), field(4, size), *more)


def test_every_request_has_what_its_packet_says() -> None:
    data = header(names={0: "writebacks", 5: "system.cpu0.inst", 6: "system.cpu1.data", 7: "system.ide"})
    data += packet(1_000, READ, 0x1000, 64, field(5, FETCH_FLAG), field(6, 5), field(7, 0x1000))
    data += packet(2_999, WRITE, 0x8000_0000, 8, field(6, 6)) + packet(3_000, SWAP, 0x20, 4, field(6, 6))
    data += packet(4_000, READ, 0x40, 4096, field(6, 7)) + packet(5_000, READ, 0x44, 4, field(6, 99))
    found = read_all(FORMAT, data)
    assert found["address"].tolist() == [0x1000, 0x8000_0000, 0x20, 0x20, 0x40, 0x44]
    assert found["op"].tolist() == [Op.FETCH, Op.WRITE, Op.READ, Op.WRITE, Op.READ, Op.READ]
    assert found["time"].tolist() == [1, 2, 3, 3, 4, 5]
    assert found["size"].tolist() == [64, 8, 4, 4, 4096, 4]
    assert found["vcpu"].tolist() == [0, 1, 1, 1, 0, 0]
    assert (
        found["places"][0]
        == f"byte {len(header(names={0: 'writebacks', 5: 'system.cpu0.inst', 6: 'system.cpu1.data', 7: 'system.ide'}))}"
    )


def test_a_large_random_file_is_counted_as_it_was_written() -> None:
    draw = random.Random(9)  # noqa: S311 - a made-up file
    written = [
        (
            draw.randrange(1 << 50),
            draw.choice([READ, READ, WRITE, *range(len(COMMANDS))]),
            draw.randrange(1 << 40),
            draw.randrange(1, 5000),
        )
        for _ in range(150_000)
    ]
    written.sort()
    unknown = [
        b"",
        field(9, 5),
        field(15, b"abc"),
        varint(10 << 3 | 1) + bytes(8),
        varint(11 << 3 | 5) + bytes(4),
    ]
    data = header() + b"".join(packet(*each, draw.choice(unknown)) for each in written)
    dropped = Dropped()
    found = read_all(FORMAT, data, dropped)
    reads = {1, 22, 24, 25, 26, 30}
    writes = {4, 7, 9, 16, 27, 32}
    wanted = [
        (tick // 1000, Op.READ if kind == 0 else Op.WRITE, addr, size)
        for tick, cmd, addr, size in written
        for kind in (0, 1)
        if cmd == SWAP or cmd in (reads, writes)[kind]
    ]
    assert (
        list(zip(*(found[name].tolist() for name in ("time", "op", "address", "size")), strict=True))
        == wanted
    )
    by_command = Counter(cmd for _, cmd, _, _ in written)
    assert counts(dropped) == {
        f"packet {COMMANDS[cmd]}": count
        for cmd, count in by_command.items()
        if cmd not in reads | writes | {SWAP}
    }


@pytest.mark.parametrize("tick_freq", [10**12, 10**9, 10**6, 1, 3_000_000_000, 2_400_000_000, 333_333_333])
def test_ticks_become_nanoseconds_rounded_down(tick_freq: int) -> None:
    ticks = [0, 1, 999, 1000, 123_456_789, 10**12 + 7]
    assert nanoseconds(np.array(ticks, np.uint64), tick_freq).tolist() == [
        min(tick * 10**9 // tick_freq, 2**64 - 1) for tick in ticks
    ]


def test_a_packet_of_no_bytes_is_left_out() -> None:
    dropped = Dropped()
    assert read_all(FORMAT, header() + packet(1, READ, 2, 0) + packet(1, READ, 2, 1), dropped)[
        "size"
    ].tolist() == [1]
    assert counts(dropped) == {"packet of no bytes": 1}


GOOD = header() + packet(1, READ, 0x1000, 8) * 1000
PLACE = f"byte {len(header()) + 500 * (len(packet(1, READ, 0x1000, 8))):,}"
HALF = len(header()) + 500 * len(packet(1, READ, 0x1000, 8))


@pytest.mark.parametrize(
    ("data", "message_said"),
    [
        (b"", "byte 0: there is nothing"),
        (b"5meg" + GOOD[4:], "byte 0: .*wrong order"),
        (b"time,op,gpa\r\n1,0,4096\r\n", "byte 0: it does not begin with the letters gem5"),
        (GOOD[:10], "byte 4: its first message is no PacketHeader"),
        (b"gem5" + packet(1, 2, 0, 4)[:-1] + b"\x80" * 20, "byte 4: its"),
        (header(0), "byte 4: its ticks a second are 0"),
        (header(2**40 + 1), "byte 4: its ticks"),
        (GOOD[:-3], f"byte {len(GOOD) - len(packet(1, READ, 0x1000, 8)):,}: the input ends within a message"),
        (GOOD[:HALF] + b"\xff" * 40 + GOOD[HALF:], f"{PLACE}: no length of a message"),
        (GOOD[:HALF] + message(b"\x0f\x01") + GOOD[HALF:], f"{PLACE}: a message that is no packet"),
        (GOOD[:HALF] + message(field(1, b"abc")) + GOOD[HALF:], f"{PLACE}: a message that is no packet"),
        (
            GOOD[:HALF] + message(varint(9 << 3 | 2) + varint(1 << 60)) + GOOD[HALF:],
            f"{PLACE}: a message that is no packet",
        ),
        (GOOD[:HALF] + message(field(1, 5), field(2, 1)) + GOOD[HALF:], f"{PLACE}: a packet without"),
        (GOOD[:HALF] + packet(1, 100, 5, 5) + GOOD[HALF:], f"{PLACE}: a command that gem5 does not have"),
        (GOOD[:HALF] + packet(1, 1000, 5, 5) + GOOD[HALF:], f"{PLACE}: a command that gem5 does not have"),
    ],
)
def test_damage_is_named_by_its_byte(data: bytes, message_said: str) -> None:
    with pytest.raises(BadRecordError, match=message_said):
        read_all(FORMAT, data)


def test_bad_messages_are_counted_where_they_are_to_be_left_out() -> None:
    dropped = Dropped(skip_bad=True)
    data = GOOD[:HALF] + message(b"\x0f\x01") + packet(1, 100, 5, 5) + GOOD[HALF:] + b"\xff" * 40
    assert len(read_all(FORMAT, data, dropped)["op"]) == 1000
    assert sorted(counts(dropped).values()) == [1, 1, 1]


def test_random_bytes_raise_nothing_else() -> None:
    draw = random.Random(4)  # noqa: S311 - made-up damage
    for _ in range(300):
        data = bytearray(GOOD[: draw.randrange(len(GOOD))])
        for _ in range(draw.randrange(4)):
            data[draw.randrange(max(1, len(data))) :] = draw.randbytes(draw.randrange(30)) if data else b""
        try:
            read_all(FORMAT, bytes(data), Dropped(skip_bad=bool(draw.randrange(2))))
        except BadRecordError as error:
            assert error.where.startswith("byte ")  # noqa: PT017 - either is right


def test_a_trace_is_known_by_its_letters() -> None:
    assert FORMAT.guess is not None
    assert FORMAT.guess(GOOD)
    assert not FORMAT.guess(struct.pack("<I", 5))
