"""ChampSim: files written from the published layout, and counted by other means."""

from __future__ import annotations

import random
import struct
from collections import Counter

import pytest
from tests.ingest.foreign import counts, read_all

from eptreplay.ingest.importers.champsim import FORMAT
from eptreplay.ingest.importing.dropped import BadRecordError, Dropped
from eptreplay.ingest.trace.schema import Op

STRUCTS = {64: "<QBB2s4s2Q4Q", 72: "<QBB2s4s2Q4QB7x", 96: "<QBB4s4s6x4Q4Q2sB5x"}
STORES = {64: 2, 72: 2, 96: 4}


def instruction(
    width: int, ip: int, stores: list[int], loads: list[int], branch: int = 0, asid: int = 0
) -> bytes:
    registers = (b"\1\2\3\4"[: STORES[width]], b"\6\7\0\0")
    memory = [*stores, *[0] * (STORES[width] - len(stores)), *loads, *[0] * (4 - len(loads))]
    kinds: dict[int, list[int | bytes]] = {64: [], 72: [1], 96: [asid.to_bytes(2, "little"), 0]}
    return struct.pack(STRUCTS[width], ip, branch, branch, *registers, *memory, *kinds[width])


def program(width: int, count: int, seed: int = 3) -> bytes:
    draw = random.Random(seed)  # noqa: S311 - a made-up program
    return b"".join(
        instruction(
            width,
            0x400000 + 4 * draw.randrange(1 << 16),
            [draw.randrange(1, 1 << 47) for _ in range(draw.choice([0, 0, 0, 1, STORES[width]]))],
            [draw.randrange(1, 1 << 47) for _ in range(draw.choice([0, 0, 1, 1, 4]))],
            branch=draw.choice([0, 0, 0, 1]),
            asid=draw.randrange(3),
        )
        for _ in range(count)
    )


@pytest.mark.parametrize("width", [64, 72, 96])
def test_an_instruction_is_a_fetch_then_its_loads_then_its_stores(width: int) -> None:
    data = instruction(width, 0x1000, [0x30], [0x20, 0x28], asid=513) + instruction(width, 0x1004, [], [])
    found = read_all(FORMAT, data, record_bytes=str(width))
    assert found["address"].tolist() == [0x1000, 0x20, 0x28, 0x30, 0x1004]
    assert found["op"].tolist() == [Op.FETCH, Op.READ, Op.READ, Op.WRITE, Op.FETCH]
    assert found["places"].tolist() == ["byte 0"] * 4 + [f"byte {width}"]
    assert ("space" in found) == (width == 96)
    if width == 96:
        assert found["space"].tolist() == [513] * 4 + [0]


@pytest.mark.parametrize("width", [64, 72, 96])
def test_a_program_is_counted_as_struct_counts_it_and_its_width_is_told(width: int) -> None:
    data = program(width, 30_000)
    found = read_all(FORMAT, data)
    wanted: list[tuple[int, int]] = []
    for ip, _, _, _, _, *memory in struct.iter_unpack(STRUCTS[width], data):
        stores, loads = memory[: STORES[width]], memory[STORES[width] : STORES[width] + 4]
        wanted.append((Op.FETCH, ip))
        wanted += [(Op.READ, each) for each in loads if each] + [(Op.WRITE, each) for each in stores if each]
    assert list(zip(found["op"].tolist(), found["address"].tolist(), strict=True)) == wanted
    assert Counter(found["op"].tolist())[Op.FETCH] == 30_000


def test_an_instruction_without_a_pointer_is_no_fetch() -> None:
    dropped = Dropped()
    found = read_all(
        FORMAT, instruction(64, 0, [], [5]) + instruction(64, 9, [], []), dropped, record_bytes="64"
    )
    assert found["address"].tolist() == [5, 9]
    assert counts(dropped) == {"instruction without a pointer: no fetch": 1}


GOOD = program(64, 3000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "byte 0: there is nothing"),
        (GOOD[:-10], f"byte {len(GOOD) - 64:,}: the input ends within a record of 64 bytes"),
        (GOOD[:128_000] + b"\xee" * 64 + GOOD[128_000:], "byte 128,000: no instruction of 64 bytes"),
        (b"".join(GOOD[at : at + 8][::-1] for at in range(0, len(GOOD), 8)), "byte 0: no ChampSim trace"),
        (b"time,op,gpa\r\n1,0,4096\r\n" * 400, "byte 0: no ChampSim trace"),
        (bytes(64 * 72), "byte 0: no ChampSim trace"),
        (GOOD[:60], "byte 0: no ChampSim trace"),
    ],
)
def test_damage_is_named_by_its_byte(data: bytes, message: str) -> None:
    with pytest.raises(BadRecordError, match=message):
        read_all(FORMAT, data)


def test_a_width_that_cannot_be_told_is_asked_for() -> None:
    one = instruction(72, 0x1000, [], [])
    with pytest.raises(BadRecordError, match="could be 64 and 72 bytes long; say which with --record-bytes"):
        read_all(FORMAT, one)
    assert len(read_all(FORMAT, one, record_bytes="72")["op"]) == 1


def test_bad_records_are_counted_where_they_are_to_be_left_out() -> None:
    dropped = Dropped(skip_bad=True)
    found = read_all(FORMAT, GOOD[:128_000] + b"\xee" * 128 + GOOD[128_000:-10], dropped)
    assert (found["op"] == Op.FETCH).sum() == 2999
    assert [(each.records, each.first) for each in dropped.bad.values()] == [
        (2, "byte 128,000"),
        (1, f"byte {len(GOOD) + 64:,}"),
    ]
