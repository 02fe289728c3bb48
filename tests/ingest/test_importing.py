"""What importers share: packed inputs, lines in pieces, pages by first touch, long accesses, times that go back."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from tests.ingest.foreign import Trickle

from eptreplay.errors import TraceError
from eptreplay.ingest.importing.dropped import BadRecordError, Dropped
from eptreplay.ingest.importing.format import ANY_LENGTH, LONGEST_ACCESS
from eptreplay.ingest.importing.inputs import open_input
from eptreplay.ingest.importing.memory import NOWHERE, AsItIs, Dense
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.importing.rows import Seen, good_records, rows_of
from eptreplay.ingest.logs import lines as lines_module
from eptreplay.ingest.logs.lines import Log
from eptreplay.ingest.logs.page_map import read_page_map
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.trace.schema import Segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = b"".join(b"%d,0x%x\n" % (number, number * 4096) for number in range(20_000))


def zipped(data: bytes) -> bytes:
    """Pack data as three members whose natural order is not that of their names as texts."""
    out = io.BytesIO()
    third = len(data) // 3
    parts = {"part.2": data[:third], "part.10": data[third : 2 * third], "part.30": data[2 * third :]}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(parts):
            archive.writestr(name, parts[name])
    return out.getvalue()


def frame(codec: str) -> Callable[[bytes], bytes]:
    """Return what packs data as one frame of a codec, as its command line does."""

    def pack(data: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(data)
        return bytes(sink.getvalue())

    return pack


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "two gzip members": lambda data: gzip.compress(data[:999]) + gzip.compress(data[999:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": frame("zstd"),
    "lz4": frame("lz4"),
    "zip": zipped,
}


@pytest.mark.parametrize("how", PACKERS)
def test_an_input_is_unpacked_by_its_content_whatever_its_name(tmp_path: Path, how: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(PACKERS[how](TEXT))
    with open_input(str(path)) as stream:
        assert stream.head() == TEXT[: 1 << 16]
        assert stream.read(10) + stream.read(100_000) == TEXT[:100_010]
        assert stream.read() == TEXT[100_010:]
        assert stream.read(1) == b""
        assert stream.taken > 0


@pytest.mark.parametrize("how", [how for how in PACKERS if how != "plain"])
def test_a_packed_input_that_is_cut_off_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "trace.txt"
    packed = PACKERS[how](TEXT)
    path.write_bytes(packed[: len(packed) * 2 // 3])
    with pytest.raises(TraceError, match="cannot be unpacked"), open_input(str(path)) as stream:
        stream.read()


def test_a_missing_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"), open_input(str(tmp_path / "none")):
        pass


LOG = Log(grammar([Line("{number:dec},{address:number}"), Line("#{rest}", "comments")]), "no pair")


@pytest.mark.parametrize("chunk", [1, 7, 1000, 1 << 20])
def test_lines_are_put_together_whatever_pieces_they_come_in(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "CHUNK_BYTES", chunk)
    text = TEXT[: 3000 if chunk == 1 else 60_000]
    text = text[: text.rindex(b"\n") + 1]
    found = list(LOG.read(Trickle(text), Dropped()))
    expected = [line.split(b",") for line in text.splitlines()]
    assert np.concatenate([each.values["number"] for each in found]).tolist() == [
        int(number) for number, _ in expected
    ]
    assert np.concatenate([each.values["address"] for each in found]).tolist() == [
        int(address, 16) for _, address in expected
    ]
    assert np.concatenate([each.line for each in found]).tolist() == list(range(1, len(expected) + 1))


def test_bad_lines_are_named_by_their_number_and_lines_that_are_no_records_counted() -> None:
    dropped = Dropped(skip_bad=True)
    found = list(LOG.read(io.BytesIO(b"# a\n1,0x2\nxyz\n# b\n2,3\n\n"), dropped))
    assert [each.values["number"].tolist() for each in found] == [[1, 2]]
    assert dropped.on_purpose["comments"].records == 2
    assert dropped.bad["no pair"].records == 2
    assert dropped.bad["no pair"].first == "line 3 ('xyz')"
    with pytest.raises(BadRecordError, match="line 3"):
        list(LOG.read(io.BytesIO(b"# a\n1,0x2\nxyz\n"), Dropped()))


@pytest.mark.parametrize(
    ("template", "line", "values"),
    [
        ("{a:hex}", "0xffffffffffffffff", {"a": 2**64 - 1}),
        ("{a:hex}", "DeadBeef", {"a": 0xDEADBEEF}),
        ("{a:hex}", "10000000000000000", None),
        ("{a:dec}", "18446744073709551615", {"a": 2**64 - 1}),
        ("{a:dec}", "18446744073709551616", None),
        ("{a:dec}", "0x10", None),
        ("{a:number}", "0x10", {"a": 16}),
        ("{a:fraction 9}", "1.5", {"a": 1_500_000_000}),
        ("{a:fraction 9}", "3.1234567899", {"a": 3_123_456_789}),
        ("{a:fraction 0}", "7.9", {"a": 7}),
        ("{a:fraction 9}", "18446744074", None),
        ("{a:fraction 3}", "x", None),
        ("{a:dec} {b:dec}", "1 \t 2", {"a": 1, "b": 2}),
        ("{a:dec}{_},{_}{b:dec}", "1 ,2  ", {"a": 1, "b": 2}),
        ("{quoted},{a:dec}", '"x"",y",5', {"a": 5}),
        ("{skip ,},{a:dec}", '"a,b",5', {"a": 5}),
        ("{find at }{a:hex}{rest}", "x at 10 y", {"a": 16}),
        ("{a:last}{rest}", "x y ff", {"a": 255}),
        ("{maybe +}{a:dec}", "+7", {"a": 7}),
        ("{a:dec}", "7 8", None),
    ],
)
def test_a_pattern_takes_what_it_says(template: str, line: str, values: dict[str, int] | None) -> None:
    log = Log(grammar([Line(template)]), "bad")
    found = list(log.read(io.BytesIO(f"{line}\n".encode()), Dropped(skip_bad=True)))
    if values is None:
        assert found == []
    else:
        assert {name: int(each[0]) for name, each in found[0].values.items()} == values


HEADS = {
    "  python3-12   [001] d....  3.000005: go: 7": (3_000_005_000, 1, 12),
    "  a b-c-12   (  9) [011]  3.5: go: 7": (3_500_000_000, 11, 12),
    "  CPU 0/KVM 9/12 [001]  3.000000005: sys:go: 7": (3_000_000_005, 1, 12),
    "perf  12  3.25:          1 sys:go: 7": (3_250_000_000, 2**64 - 1, 12),
    "perf  12  3: go: 7": None,
    "perf  12  3.5 go: 7": None,
}


@pytest.mark.parametrize("line", HEADS)
def test_what_stands_before_an_event_is_read_from_its_end(line: str) -> None:
    log = Log(grammar([Line("{stand go:}{head}go: {a:dec}")]), "bad")
    found = list(log.read(io.BytesIO(f"{line}\n".encode()), Dropped(skip_bad=True)))
    got = tuple(int(found[0].values[name][0]) for name in ("time", "cpu", "thread")) if found else None
    assert got == HEADS[line]


def records(address: list[int], **more: list[int]) -> Records:
    types = {"time": np.uint64, "size": np.uint32, "count": np.uint32, "space": np.uint64, "vcpu": np.uint16}
    return Records(
        np.array(address, np.uint64),
        np.zeros(len(address), np.uint8),
        **{name: np.array(values, types[name]) for name, values in more.items()},  # type: ignore[arg-type]
    )


def test_a_record_longer_than_any_access_is_damaged() -> None:
    chunk = replace(records([0, 1]), size=np.array([LONGEST_ACCESS, LONGEST_ACCESS + 1], np.uint32))
    with pytest.raises(BadRecordError, match="record 2: an access of more than 1,048,576 bytes"):
        list(good_records([chunk], Dropped(), Seen()))
    (kept,) = good_records([chunk], dropped := Dropped(skip_bad=True), Seen())
    assert len(kept) == 1
    assert [found.records for found in dropped.bad.values()] == [1]
    assert [len(each) for each in good_records([chunk], Dropped(), Seen(), ANY_LENGTH)] == [2]


def test_pages_are_numbered_as_they_are_first_touched_in_each_space() -> None:
    memory = Dense(4096)
    addresses = np.array([0x7FFF_F123, 0x1004, 0x7FFF_F000, 0x1FFF, 0x2000], np.uint64)
    assert memory.place(addresses, None).tolist() == [0x123, 0x1004, 0, 0x1FFF, 0x2000]
    spaces = np.array([1, 1, 0], np.uint64)
    assert memory.place(np.array([0x1000, 0x1001, 0x1000], np.uint64), spaces).tolist() == [
        0x3000,
        0x3001,
        0x1000,
    ]
    assert memory.segments() == (Segment(0, 4 * 4096, "ram"),)


def test_many_pages_are_numbered_as_a_dictionary_numbers_them() -> None:
    draw = np.random.default_rng(2)
    memory, known = Dense(2 << 20), dict[int, int]()
    for _ in range(4):
        addresses = draw.integers(0, 1 << 58, 60_000, dtype=np.uint64) & ~np.uint64(0xFFF)
        expected = [known.setdefault(int(each) >> 21, len(known)) for each in addresses]
        assert (memory.place(addresses, None) >> np.uint64(21)).tolist() == expected
    assert memory.segments()[0].bytes == len(known) << 21


def test_memory_is_the_blocks_that_were_touched() -> None:
    memory = AsItIs()
    memory.touched(np.array([0x1000, (5 << 21) - 1, 9 << 21], np.uint64), np.array([1, 2, 1], np.uint16))
    block = 2 << 20
    assert memory.segments() == (
        Segment(0, block, "ram"),
        Segment(4 * block, 2 * block, "ram"),
        Segment(9 * block, block, "ram"),
    )
    many = AsItIs()
    many.touched(np.arange(0, 10_000, 2, dtype=np.uint64) << np.uint64(21), None)
    assert len(many.segments()) == 4096
    assert sum(each.bytes for each in many.segments()) >= 5000 * block


def test_accesses_longer_than_a_page_are_divided_and_crossing_ones_only_where_pages_come_apart() -> None:
    one = records([0xFFE, 0x1800, 0x4000], size=[4, 0x2000, 0x1000], time=[1, 2, 3])
    (whole,) = rows_of(one, AsItIs(), Dropped())
    assert whole["gpa"].tolist() == [0xFFE, 0x1800, 0x2000, 0x3000, 0x4000]
    assert whole["size"].tolist() == [4, 0x800, 0x1000, 0x800, 0x1000]
    assert whole["time"].tolist() == [1, 2, 2, 2, 3]
    (apart,) = rows_of(one, Dense(4096), Dropped())
    assert apart["size"].tolist() == [2, 2, 0x800, 0x1000, 0x800, 0x1000]
    assert apart["gpa"].tolist() == [0xFFE, 0x1000, 0x1800, 0x2000, 0x3000, 0x4000]
    total = sum(
        int(part["size"].sum())
        for part in rows_of(records([5], size=[2**32 - 1], time=[0]), AsItIs(), Dropped())
    )
    assert total == 2**32 - 1


def test_times_that_go_back_are_bad_and_one_that_is_far_ahead_costs_only_itself() -> None:
    chunks = [records([1, 2, 3], time=[10, 99_999, 20]), records([4], time=[30])]
    with pytest.raises(BadRecordError, match="record 3: its time"):
        list(good_records(chunks, Dropped(), Seen()))
    dropped = Dropped(skip_bad=True)
    kept = list(good_records(chunks, dropped, Seen()))
    assert [each.address.tolist() for each in kept] == [[1, 3], [4]]
    assert [(each.records, each.first) for each in dropped.bad.values()] == [(1, "record 2")]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (records([1, 2], size=[1, 0]), "no bytes"),
        (records([1, 2**64 - 1], size=[1, 2]), "last address"),
        (records([1, 2], count=[1, 0]), "no accesses"),
        (records([1, 2], time=[1, 2**63]), "2\\^63"),
    ],
)
def test_a_record_that_cannot_be_is_bad(one: Records, reason: str) -> None:
    with pytest.raises(BadRecordError, match=f"record 2: .*{reason}"):
        list(good_records([one], Dropped(), Seen()))
    dropped = Dropped(skip_bad=True)
    assert [each.address.tolist() for each in good_records([one], dropped, Seen())] == [[1]]


def test_the_number_of_a_record_stands_for_its_time() -> None:
    found = list(good_records([records([5, 6]), records([7])], Dropped(), Seen()))
    assert [each.time.tolist() for each in found if each.time is not None] == [[0, 1], [2]]


@pytest.mark.parametrize(
    "text",
    [
        "virtual,physical\n0x7000,0x1000\n0x5000,0x9000\n",
        "# a comment\n0x5000 36864\n\n28672\t0x1000\n",
        (
            "page_size: 4096\naddress_mapping {\n  virtual_address: 0x7000\n  physical_address: 0x1000\n}\n"
            "address_mapping { virtual_address: 0x5000 physical_address: 0x9000 }\n"
        ),
    ],
)
def test_a_page_map_says_where_pages_are(tmp_path: Path, text: str) -> None:
    (tmp_path / "map").write_text(text)
    memory = read_page_map(str(tmp_path / "map"), 4096)
    placed = memory.place(np.array([0x5004, 0x7FFF, 0x6000], np.uint64), None)
    assert placed.tolist() == [0x9004, 0x1FFF, int(NOWHERE)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no page"),
        ("0x5000,0x1000\n0x5000,0x2000\n", "twice"),
        ("0x5001,0x1000\n", "not the first of a page"),
        ("0x5000,0x1000\nrubbish\n", "line 2"),
        ("0x5000,0xffffffffff000000\n", "48 bits"),
    ],
)
def test_a_page_map_that_makes_no_sense_is_refused(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "map").write_text(text)
    with pytest.raises(TraceError, match=found):
        read_page_map(str(tmp_path / "map"), 4096)
