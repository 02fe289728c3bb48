"""drmemtrace: files written from the published layout, and counted by other means."""

from __future__ import annotations

import random
import struct
import zipfile
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay
from tests.ingest.foreign import counts, read_all

from eptreplay.ingest.importers.drmemtrace import FORMAT
from eptreplay.ingest.importing.dropped import BadRecordError, Dropped
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from pathlib import Path

READ, WRITE, INSTR, BUNDLE, THREAD, EXIT, PID, HEADER, FOOTER, MARKER = 0, 1, 10, 17, 22, 23, 24, 25, 26, 28
NO_FETCH, MAYBE, ENCODING = 29, 30, 47
TIMESTAMP, CPU, FILETYPE, VERSION, WINDOW, PHYSICAL, NO_PHYSICAL, VIRTUAL, PAGE_SIZE, ENDPOINT = (
    2,
    3,
    9,
    12,
    14,
    15,
    16,
    17,
    18,
    23,
)


def entry(kind: int, size: int, value: int) -> bytes:
    return struct.pack("<HHQ", kind, size, value)


def marker(kind: int, value: int) -> bytes:
    return entry(MARKER, kind, value)


def begin(tid: int = 7, pid: int = 5, time: int = 1000, cpu: int = 2, filetype: int = 0x240) -> bytes:
    head = entry(HEADER, 0, 6) + marker(VERSION, 6) + marker(FILETYPE, filetype)
    return head + entry(THREAD, 0, tid) + entry(PID, 0, pid) + marker(TIMESTAMP, time) + marker(CPU, cpu)


END = entry(EXIT, 0, 7) + entry(FOOTER, 0, 0)


def test_every_access_has_what_its_record_says() -> None:
    body = (
        entry(ENCODING, 4, 0)
        + entry(INSTR, 4, 0x1000)
        + entry(READ, 8, 0x7FFF0000)
        + entry(WRITE, 2, 0x7FFF0008)
    )
    found = read_all(FORMAT, begin() + body + marker(TIMESTAMP, 2000) + entry(48, 3, 0x1004) + END)
    assert found["address"].tolist() == [0x1000, 0x7FFF0000, 0x7FFF0008, 0x1004]
    assert found["op"].tolist() == [Op.FETCH, Op.READ, Op.WRITE, Op.FETCH]
    assert found["size"].tolist() == [4, 8, 2, 3]
    assert found["time"].tolist() == [1000, 1000, 1000, 2000]
    assert set(found["space"].tolist()) == {5}
    assert found["places"].tolist() == [f"byte {12 * (7 + number)}" for number in (1, 2, 3, 5)]


def test_a_large_random_file_is_counted_as_struct_counts_it() -> None:
    draw = random.Random(11)  # noqa: S311 - a made-up file
    kinds = [*range(2, 17), *range(18, 22), 27, NO_FETCH, 31, *range(32, 50), *[READ, WRITE, INSTR] * 12]
    body = b"".join(
        entry(draw.choice(kinds), draw.randrange(1, 17), draw.randrange(1, 1 << 47)) for _ in range(200_000)
    )
    data = begin() + body + END
    dropped = Dropped()
    found = read_all(FORMAT, data, dropped)
    by_type = Counter(kind for kind, _, _ in struct.iter_unpack("<HHQ", data))
    fetches = [*range(10, 17), 31, 48, 49]
    ops = Counter(found["op"].tolist())
    assert ops == {
        Op.READ: by_type[0],
        Op.WRITE: by_type[1],
        Op.FETCH: sum(by_type[kind] for kind in fetches),
    }
    wanted = [
        (value, size) for kind, size, value in struct.iter_unpack("<HHQ", data) if kind in {0, 1, *fetches}
    ]
    assert list(zip(found["address"].tolist(), found["size"].tolist(), strict=True)) == wanted
    said = counts(dropped)
    assert said["software prefetch"] == sum(by_type[kind] for kind in (*range(2, 10), *range(32, 47)))
    assert said["cache flush"] == sum(by_type[kind] for kind in range(18, 22))
    assert said["instruction's encoding"] == by_type[ENCODING]
    assert sum(said.values()) + len(found["op"]) == len(data) // 12


def test_bundles_repeated_strings_and_empty_records() -> None:
    lengths = int.from_bytes(bytes([2, 3, 15]), "little")
    body = (
        entry(INSTR, 4, 0x1000) + entry(BUNDLE, 3, lengths) + entry(INSTR, 0, 0x5000) + entry(READ, 0, 0x10)
    )
    body += (
        entry(MAYBE, 2, 0x2000)
        + entry(MAYBE, 2, 0x2000)
        + entry(NO_FETCH, 2, 0x2000)
        + entry(MAYBE, 2, 0x2002)
    )
    dropped = Dropped()
    found = read_all(FORMAT, begin() + body + END, dropped)
    assert found["address"].tolist() == [0x1000, 0x1004, 0x1006, 0x1009, 0x2000, 0x2002]
    assert found["size"].tolist() == [4, 2, 3, 15, 2, 2]
    said = counts(dropped)
    assert said["instruction that is not fetched again (a repeated string instruction)"] == 2
    assert said["instruction pointer without a fetch"] == 1
    assert said["access of no bytes"] == 1


def turn(tid: int, pid: int, time: int, cpu: int, address: int) -> bytes:
    """A buffer of a thread with one access."""
    return (
        entry(THREAD, 0, tid)
        + entry(PID, 0, pid)
        + marker(TIMESTAMP, time)
        + marker(CPU, cpu)
        + entry(READ, 8, address)
    )


THREADS = entry(HEADER, 0, 6) + b"".join(
    [
        turn(1, 9, 10, 40, 1),
        turn(2, 9, 20, 41, 2),
        turn(1, 9, 30, 41, 3),
        entry(EXIT, 0, 1),
        turn(3, 8, 40, 2**64 - 1, 4),
        turn(2, 9, 50, 40, 5),
    ]
)


@pytest.mark.parametrize(
    ("options", "vcpus"),
    [
        ({}, [0, 1, 0, 0, 1]),
        ({"vcpu_per": "thread"}, [0, 1, 0, 2, 1]),
        ({"vcpu_per": "core"}, [0, 1, 1, 1, 0]),
    ],
)
def test_threads_are_scheduled_or_are_vcpus_or_run_on_cores(
    options: dict[str, str], vcpus: list[int]
) -> None:
    found = read_all(FORMAT, THREADS, None, **options)
    assert found["vcpu"].tolist() == vcpus
    assert found["space"].tolist() == [9, 9, 9, 8, 9]
    assert found["time"].tolist() == [10, 20, 30, 40, 50]


def test_a_vcpu_is_not_given_to_a_thread_that_began_before_it_became_free() -> None:
    opened = FORMAT.open({})
    assert set(
        read_all(opened, turn(1, 9, 10, 0, 1) + turn(1, 9, 100, 0, 1) + entry(EXIT, 0, 1))["vcpu"]
    ) == {0}
    assert set(read_all(opened, turn(2, 9, 50, 0, 1) + entry(EXIT, 0, 2))["vcpu"]) == {1}
    assert set(read_all(opened, turn(3, 9, 100, 0, 1))["vcpu"]) == {0}


def test_many_threads_are_kept_apart() -> None:
    draw = random.Random(5)  # noqa: S311 - made-up threads
    tids = [draw.randrange(1 << 20) for _ in range(3000)]
    data = entry(HEADER, 0, 6) + b"".join(turn(tid, tid + 1, 1, 0, tid) for tid in [*tids, *reversed(tids)])
    found = read_all(FORMAT, data, vcpu_per="thread")
    number: dict[int, int] = {}
    assert found["vcpu"].tolist() == [number.setdefault(tid, len(number)) for tid in [*tids, *reversed(tids)]]
    assert (found["space"] == found["address"] + 1).all()


def test_physical_addresses_are_those_of_the_markers_before() -> None:
    body = marker(PHYSICAL, 0x9A000) + marker(VIRTUAL, 0x7F000) + entry(READ, 8, 0x7F010)
    body += marker(PHYSICAL, 0x33000) + marker(VIRTUAL, 0x80000) + entry(WRITE, 8, 0x7FFFC)
    body += marker(PHYSICAL, 0x44000) + marker(VIRTUAL, 0x7F000) + entry(READ, 4, 0x7F010)
    body += marker(NO_PHYSICAL, 0x7F000) + entry(READ, 4, 0x7F010) + entry(READ, 4, 0x123456000)
    dropped = Dropped()
    found = read_all(FORMAT, begin() + body + END, dropped, addresses="physical")
    assert found["address"].tolist() == [0x9A010, 0x9AFFC, 0x33000, 0x44010]
    assert found["size"].tolist() == [8, 4, 4, 4]
    assert found["op"].tolist() == [Op.READ, Op.WRITE, Op.WRITE, Op.READ]
    assert counts(dropped)["access to a page without a known physical address"] == 2
    assert "space" not in found
    assert not FORMAT.open({"addresses": "physical"}).origin.virtual
    assert FORMAT.open({}).origin.virtual
    assert FORMAT.open_with is not None
    assert not FORMAT.open_with({}, begin() + body).origin.virtual
    assert FORMAT.open_with({"addresses": "virtual"}, begin() + body).origin.virtual
    assert FORMAT.open_with({}, GOOD).origin.virtual
    assert read_all(FORMAT, begin() + body + END)["address"].tolist()[:2] == [0x7F010, 0x7FFFC]


def test_pages_of_two_processes_and_very_many_pages() -> None:
    pairs = [(number * 7 + 1, number + 1) for number in range(9000)]
    first = b"".join(marker(PHYSICAL, frame << 12) + marker(VIRTUAL, page << 12) for page, frame in pairs)
    other = (
        entry(THREAD, 0, 8)
        + entry(PID, 0, 6)
        + marker(PHYSICAL, 0xABC000)
        + marker(VIRTUAL, 1 << 12)
        + entry(READ, 1, 1 << 12)
    )
    again = entry(THREAD, 0, 7) + b"".join(entry(READ, 1, (page << 12) + 5) for page, _ in pairs)
    found = read_all(FORMAT, begin() + first + other + again, addresses="physical")
    assert found["address"].tolist() == [0xABC000, *((frame << 12) + 5 for _, frame in pairs)]


@pytest.mark.parametrize(
    ("filetype", "reason"),
    [
        (0x41, "filtered"),
        (0xC0, "filtered"),
        (0x140, "filtered"),
        (0x44, "instructions only"),
        (0x20, "32-bit"),
        (0x4040, "templates"),
    ],
)
def test_traces_that_cannot_be_replayed_are_refused_with_the_reason(filetype: int, reason: str) -> None:
    for skip_bad in (False, True):
        with pytest.raises(BadRecordError, match=f"byte 24: .*{reason}"):
            read_all(FORMAT, begin(filetype=filetype) + entry(READ, 8, 1), Dropped(skip_bad=skip_bad))


def test_of_a_trace_with_a_filtered_warm_up_what_follows_is_taken() -> None:
    body = (
        marker(WINDOW, 0)
        + entry(READ, 8, 1)
        + marker(ENDPOINT, 0)
        + entry(READ, 8, 2)
        + marker(WINDOW, 0)
        + entry(READ, 8, 3)
    )
    body += marker(WINDOW, 1) + entry(READ, 8, 4) + marker(ENDPOINT, 0) + entry(READ, 8, 5)
    dropped = Dropped()
    found = read_all(FORMAT, begin(filetype=0x2140) + body + END, dropped)
    assert found["address"].tolist() == [2, 3, 5]
    assert counts(dropped)["filtered part before the marker where filtering ends"] == 2


GOOD = begin() + entry(READ, 8, 1) * 100 + END


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "byte 0: there is nothing"),
        (GOOD[:-5], f"byte {len(GOOD) - 12:,}: the input ends within a record"),
        (GOOD[:600] + b"\xee" * 24 + GOOD[600:], "byte 600: no type"),
        (GOOD[:84] + entry(BUNDLE, 2, 0x0404) + GOOD[84:], "byte 84: a bundle"),
        (
            struct.pack(">HHQ", HEADER, 0, 6) + struct.pack(">HHQ", MARKER, VERSION, 6),
            "byte 0: .*wrong order",
        ),
        (struct.pack("<HHI", HEADER, 0, 6) + struct.pack("<HHI", MARKER, VERSION, 6) * 3, "byte 0: .*32-bit"),
        (b"time,op,gpa\r\n1,0,4096\r\n" * 4, "byte 0: no final drmemtrace"),
    ],
)
def test_damage_is_named_by_its_byte(data: bytes, message: str) -> None:
    with pytest.raises(BadRecordError, match=message):
        read_all(FORMAT, data)


def test_bad_records_are_counted_where_they_are_to_be_left_out() -> None:
    dropped = Dropped(skip_bad=True)
    found = read_all(FORMAT, GOOD[:600] + b"\xee" * 24 + GOOD[600:-5], dropped)
    assert len(found["op"]) == 100
    assert {reason: each.first for reason, each in dropped.bad.items()} == {
        "no type of a drmemtrace record": "byte 600",
        "the input ends within a record of 12 bytes: it was cut off": f"byte {len(GOOD) + 12:,}",
    }


def test_a_trace_is_known_by_its_header() -> None:
    assert FORMAT.guess is not None
    assert FORMAT.guess(GOOD)
    assert not FORMAT.guess(GOOD[12:])
    assert not FORMAT.guess(GOOD[:20])
    assert not FORMAT.guess(b"\0" * 4096)


def test_threads_in_files_of_their_own_are_put_in_order_by_time(tmp_path: Path) -> None:
    draw = random.Random(8)  # noqa: S311 - made-up threads
    wanted: list[tuple[int, int, int]] = []
    names = []
    for tid in range(3):
        time, data = 0, begin(tid=tid + 1, pid=9, time=0)
        for _ in range(20_000):
            time += draw.randrange(3)
            address = draw.randrange(1 << 20) << 12
            data += marker(TIMESTAMP, time) + entry(WRITE, 8, address)
            wanted.append((time, tid, address))
        names.append(tmp_path / f"thread{tid}.trace")
        names[-1].write_bytes(data + entry(EXIT, 0, tid + 1) + entry(FOOTER, 0, 0))
    out = tmp_path / "out.parquet"
    done = eptreplay("import", "auto", *names, "-o", out, "--vcpu-per", "thread")
    assert done.code == 0, done.err
    table = pq.read_table(out)
    wanted.sort(key=lambda each: each[:2])
    assert table["time"].to_pylist() == [time for time, _, _ in wanted]
    assert table["vcpu"].to_pylist() == [tid for _, tid, _ in wanted]
    pages: dict[int, int] = {}
    numbers = [pages.setdefault(address, len(pages)) for _, _, address in wanted]
    assert (table["gpa"].to_numpy() >> np.uint64(12)).tolist() == numbers


def test_members_of_an_archive_are_one_trace(tmp_path: Path) -> None:
    path = tmp_path / "t.trace.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(12):
            archive.writestr(
                f"chunk.{number}", (GOOD[:84] if number == 0 else b"") + entry(READ, 8, (number + 1) << 12)
            )
    done = eptreplay("import", "drmemtrace", path, "-o", tmp_path / "out.parquet")
    assert done.code == 0, done.err
    assert (pq.read_table(tmp_path / "out.parquet")["gpa"].to_numpy() >> np.uint64(12)).tolist() == list(
        range(12)
    )


def test_a_filtered_trace_is_refused_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "t.trace").write_bytes(begin(filetype=0xC0) + entry(READ, 8, 1))
    done = eptreplay(
        "import", "auto", tmp_path / "t.trace", "-o", tmp_path / "out.parquet", "--on-bad-rows", "skip"
    )
    assert done.code == 2
    assert "byte 24: file type 0xc0: it was filtered" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["t.trace"]
