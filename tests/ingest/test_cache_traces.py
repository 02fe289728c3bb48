"""libCacheSim's traces, both ways."""

from __future__ import annotations

import io
import random
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ingest.foreign import counts, read_all

from eptreplay.errors import UsageError
from eptreplay.ingest.exporters import lcs as lcs_out
from eptreplay.ingest.exporters import oracle_general as oracle_out
from eptreplay.ingest.importers import lcs, oracle_general
from eptreplay.ingest.importing.dropped import BadRecordError, Dropped
from eptreplay.ingest.native.reader import BATCH_ROWS
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eptreplay.ingest.importing.format import Export

MAGIC = 0x123456789ABCDEF0
NEVER = 2**63 - 1


def oracle(*requests: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<IQIq", *each) for each in requests)


def header(version: int, length: int = 8192) -> bytes:
    return struct.pack("<QQ", MAGIC, version).ljust(length - 8, b"\0") + struct.pack("<Q", MAGIC)


def native(path: Path, columns: dict[str, Any], **metadata: str) -> Path:
    types = {
        "time": pa.uint64(),
        "vcpu": pa.uint16(),
        "gpa": pa.uint64(),
        "op": pa.uint8(),
        "size": pa.uint16(),
        "arg": pa.uint64(),
    }
    schema = pa.schema([pa.field(name, types[name], nullable=False) for name in columns])
    segments = '[{"gpa": 0, "bytes": 1099511627776, "kind": "ram"}]'
    keys = {"memory_segments": segments, "vcpus": "4", "time_unit": "ns"} | metadata
    pq.write_table(pa.table(columns, schema=schema.with_metadata(keys)), path)
    return path


def exported(export: Export, path: Path) -> bytes:
    out = io.BytesIO()
    written = export.write(open_trace(path), out)
    assert written >= 0
    return out.getvalue()


def following(pages: Sequence[int]) -> list[int]:
    """When each page comes next, from the end."""
    later: dict[int, int] = {}
    found = []
    for number in range(len(pages) - 1, -1, -1):
        found.append(later.get(pages[number], -1))
        later[pages[number]] = number
    return found[::-1]


def random_trace(path: Path, rows: int, seed: int = 1, **metadata: str) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    pages = np.concatenate(
        [draw.zipf(1.3, rows // 2) % (1 << 30), draw.integers(0, 1 << 28, rows - rows // 2)]
    )
    draw.shuffle(pages)
    columns = {
        "time": 28_000_000_000 + np.cumsum(draw.integers(0, 100_000, rows)).astype(np.uint64),
        "vcpu": draw.integers(0, 4, rows).astype(np.uint16),
        "gpa": (pages.astype(np.uint64) % np.uint64(1 << 28) << np.uint64(12))
        + draw.integers(0, 4089, rows).astype(np.uint64),
        "op": draw.integers(0, 3, rows).astype(np.uint8),
        "size": draw.integers(1, 9, rows).astype(np.uint16),
    }
    native(path, columns, **metadata)
    return columns


def test_oracle_general_keeps_every_row(tmp_path: Path) -> None:
    columns = random_trace(tmp_path / "t.parquet", 2 * BATCH_ROWS + 777)
    data = exported(oracle_out.EXPORT, tmp_path / "t.parquet")
    requests = list(struct.iter_unpack("<IQIq", data))
    pages = (columns["gpa"] >> np.uint64(12)).tolist()
    assert [each[1] for each in requests] == pages
    assert [each[3] for each in requests] == following(pages)
    assert {each[2] for each in requests} == {4096}
    assert [each[0] for each in requests] == (columns["time"] // 10**9).tolist()
    found = read_all(oracle_general.FORMAT, data)
    assert (found["address"] >> np.uint64(12)).tolist() == pages
    assert (found["time"] == columns["time"] // np.uint64(10**9)).all()
    assert set(found["op"]) == {Op.READ}


def test_lcs_keeps_every_row_its_vcpu_and_whether_it_writes(tmp_path: Path) -> None:
    columns = random_trace(tmp_path / "t.parquet", BATCH_ROWS + 5)
    data = exported(lcs_out.EXPORT, tmp_path / "t.parquet")
    pages = (columns["gpa"] >> np.uint64(12)).tolist()
    writes = int((columns["op"] == 1).sum())
    assert struct.unpack_from("<4Q", data) == (MAGIC, 2, 1, len(pages))
    assert struct.unpack_from("<8q", data, 32)[0] == len(set(pages))
    assert struct.unpack_from("<2q", data, 72) == (len(pages) - writes, writes)
    assert struct.unpack_from("<Q", data, 8184)[0] == MAGIC
    requests = list(struct.iter_unpack("<IQIIq", data[8192:]))
    assert [each[4] for each in requests] == following(pages)
    assert [each[3] & 255 for each in requests] == [13 if op == 1 else 12 for op in columns["op"]]
    found = read_all(lcs.FORMAT, data)
    assert (found["address"] >> np.uint64(12)).tolist() == pages
    assert (found["vcpu"] == columns["vcpu"]).all()
    assert ((found["op"] == Op.WRITE) == (columns["op"] == Op.WRITE)).all()
    assert (found["time"] == columns["time"] // np.uint64(10**9)).all()


def test_events_are_not_exported_and_far_times_begin_at_the_first(tmp_path: Path) -> None:
    time = 1 << 60
    columns = {
        "time": [time, time, time + 2 * 10**6],
        "vcpu": [0, 0, 1],
        "gpa": [0, 4096, 5],
        "op": [0, 26, 2],
        "arg": [0, 0, 0],
    }
    data = exported(oracle_out.EXPORT, native(tmp_path / "t.parquet", columns, time_unit="us"))
    assert list(struct.iter_unpack("<IQIq", data)) == [(0, 0, 4096, 1), (2, 0, 4096, -1)]


def test_what_has_no_seconds_cannot_be_exported(tmp_path: Path) -> None:
    columns = {"time": [1], "vcpu": [0], "gpa": [0], "op": [0]}
    path = native(tmp_path / "t.parquet", columns, time_unit="cycles")
    with pytest.raises(UsageError, match="counts cycles"):
        exported(oracle_out.EXPORT, path)
    far = native(
        tmp_path / "f.parquet",
        columns | {"time": [0, 2**40], "vcpu": [0, 0], "gpa": [0, 0], "op": [0, 0]},
        time_unit="s",
    )
    with pytest.raises(UsageError, match="seconds"):
        exported(oracle_out.EXPORT, far)


def test_objects_are_pages_or_names() -> None:
    data = oracle((5, 3, 100, 2), (5, 2**60, 10_000, -1), (6, 3, 100, NEVER))
    with pytest.raises(BadRecordError, match=r"byte 24: .*--objects names"):
        read_all(oracle_general.FORMAT, data)
    found = read_all(oracle_general.FORMAT, data, objects="names")
    assert found["space"].tolist() == [3, 2**60, 3]
    assert found["address"].tolist() == [0, 0, 0]
    assert found["size"].tolist() == [100, 10_000, 100]
    assert oracle_general.FORMAT.open({"objects": "names"}).origin.virtual
    assert not oracle_general.FORMAT.open({}).origin.virtual
    assert read_all(oracle_general.FORMAT, data[:24] + data[48:])["address"].tolist() == [3 << 12] * 2


def test_requests_for_nothing_are_left_out() -> None:
    dropped = Dropped()
    found = read_all(oracle_general.FORMAT, oracle((5, 3, 0, -1), (5, 4, 1, -1)), dropped)
    assert found["address"].tolist() == [4 << 12]
    assert found["places"].tolist() == ["byte 24"]
    assert counts(dropped) == {"request for an object of no bytes": 1}


@pytest.mark.parametrize(
    ("version", "layout"),
    [(1, "<IQIq"), (2, "<IQIIq"), (3, "<IQqIIq"), (4, "<IQqIIqI"), (6, "<IQqIIq4I"), (8, "<IQqIIq16I")],
)
def test_every_version_of_lcs(version: int, layout: str) -> None:
    rows = [(7, 2, 100, 13, 3, -1), (8, 3, 4096, 1, 0, -1), (9, 3, 4096, 9, 0, -1), (9, 3, 4096, 5, 2, NEVER)]
    body = b""
    for time, page, size, operation, tenant, later in rows:
        middle = {1: [], 2: [operation | tenant << 8]}.get(version, [operation | tenant << 8, 60])
        values = [time, page, size, *middle, later]
        body += struct.pack(layout, *values, *[1] * {4: 1, 6: 4, 8: 16}.get(version, 0))
    dropped = Dropped()
    found = read_all(lcs.FORMAT, header(version) + body, dropped)
    if version == 1:
        assert found["op"].tolist() == [0] * 4
        assert "vcpu" not in found
        return
    assert found["op"].tolist() == [Op.WRITE, Op.READ, Op.WRITE]
    assert found["vcpu"].tolist() == [3, 0, 2]
    assert found["time"].tolist() == [7, 8, 9]
    assert counts(dropped) == {"request to delete an object": 1}
    assert read_all(lcs.FORMAT, header(version, 1024) + body)["places"][0] == "byte 1,024"


GOOD = oracle(*[(number, number % 7, 4096, number + 7 if number < 993 else -1) for number in range(1000)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "byte 0: there is nothing"),
        (GOOD[:-1], "byte 23,976: the input ends within"),
        (GOOD[:2400] + oracle((1, 2, 3, 5)) + GOOD[2400:], "byte 2,400: its next request is not after it"),
        (oracle((1, 2**50, 5, -1)), "byte 0: the number of its object"),
    ],
)
def test_damage_of_oracle_general_is_named_by_its_byte(data: bytes, message: str) -> None:
    with pytest.raises(BadRecordError, match=message):
        read_all(oracle_general.FORMAT, data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "byte 0: there is nothing"),
        (header(2)[::-1], "byte 0: .*wrong order"),
        (GOOD, "byte 0: it does not begin"),
        (header(2)[:5000], "byte 0: its header does not end"),
        (header(9), "byte 8: its version is 9"),
        (header(int.from_bytes(b"<IQIq\0\0\0", "little")), "byte 8: .*too old"),
        (header(2) + struct.pack("<IQIIq", 1, 2, 3, 77, -1), "byte 8,192: an operation"),
        (header(2) + struct.pack("<IQIIq", 1, 2, 3, 1 | 70000 << 8, -1), "byte 8,192: a tenant"),
        (header(3) + struct.pack("<IQqIIq", 1, 2, -3, 1, 0, -1), "byte 8,192: an object of"),
        (header(2) + bytes(30), "byte 8,192: its next request|byte 8,220: the input ends"),
    ],
)
def test_damage_of_lcs_is_named_by_its_byte(data: bytes, message: str) -> None:
    with pytest.raises(BadRecordError, match=message):
        read_all(lcs.FORMAT, data)


def test_bad_requests_are_counted_where_they_are_to_be_left_out() -> None:
    dropped = Dropped(skip_bad=True)
    found = read_all(oracle_general.FORMAT, GOOD[:2400] + oracle((1, 2, 3, 5)) + GOOD[2400:-1], dropped)
    assert len(found["op"]) == 999
    assert dropped.bad["its next request is not after it"].first == "byte 2,400"


def test_traces_are_known_by_their_content() -> None:
    guesses = (oracle_general.FORMAT.guess, lcs.FORMAT.guess)
    assert all(guesses)
    for data, expected in (
        (GOOD, (True, False)),
        (header(2), (False, True)),
        (bytes(4800), (False, False)),
        (b"abc", (False, False)),
    ):
        assert tuple(guess(data) for guess in guesses if guess) == expected
    draw = random.Random(2)  # noqa: S311 - made-up bytes
    assert not any(guess(draw.randbytes(65536)) for guess in guesses if guess)
