from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.file import read_footer
from eptreplay.ingest.parquet.footer import Footer, parse_footer

if TYPE_CHECKING:
    from tests.ingest.conftest import MakeTrace


def parse_changed(path: Path, old: bytes, new: bytes) -> Footer:
    """Parse the footer of a file after one change in its bytes."""
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8]
    assert footer.count(old) == 1
    return parse_footer(path, footer.replace(old, new), len(data))


def constant_columns(rows: int) -> dict[str, Any]:
    values = {
        "time": (7, pa.uint64()),
        "gpa": (4096, pa.uint64()),
        "op": (1, pa.uint8()),
        "vcpu": (0, pa.uint8()),
    }
    return {name: pa.repeat(pa.scalar(*value), rows) for name, value in values.items()} | {"size": None}


def zigzag(value: int) -> bytes:
    value <<= 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_the_footer_says_what_pyarrow_says(make_trace: MakeTrace) -> None:
    path = make_trace(rows=250, row_group_size=100, compression="zstd")
    ours, theirs = read_footer(path), pq.read_metadata(path)
    assert [group.rows for group in ours.groups] == [100, 100, 50]
    for group, mine in enumerate(ours.groups):
        for index in range(theirs.num_columns):
            chunk = theirs.row_group(group).column(index)
            own = mine.chunks[chunk.path_in_schema]
            assert (own.low, own.high, own.nulls) == (chunk.statistics.min, chunk.statistics.max, 0)
            assert own.encodings == set(chunk.encodings)
            assert own.dictionary == chunk.has_dictionary_page
            assert own.codec == "zstd"
    assert ours.metadata["vcpus"] == "2"
    assert "ARROW:schema" not in ours.metadata


def test_unsigned_statistics_above_the_sign_bit_stay_positive(make_trace: MakeTrace) -> None:
    path = make_trace(rows=2, columns={"gpa": [2**63 + 5, 2**64 - 1]})
    chunk = read_footer(path).groups[0].chunks["gpa"]
    assert (chunk.low, chunk.high) == (2**63 + 5, 2**64 - 1)


def test_a_file_without_statistics_has_no_ranges(make_trace: MakeTrace) -> None:
    chunk = read_footer(make_trace(write_statistics=False)).groups[0].chunks["vcpu"]
    assert (chunk.low, chunk.high, chunk.nulls) == (None, None, None)


def test_nested_columns_do_not_shift_the_others(make_trace: MakeTrace) -> None:
    path = make_trace(rows=3, columns={"a": pa.array([{"gpa": 1, "b": [2]}] * 3)})
    assert set(read_footer(path).groups[0].chunks) == {"time", "vcpu", "gpa", "op", "size"}


def test_row_groups_that_share_their_bytes_are_refused(tmp_path: Path, make_trace: MakeTrace) -> None:
    """A small file that claims four billion rows, by naming one row group again and again."""
    rows = 1 << 22
    path = make_trace(rows=rows, columns=constant_columns(rows), row_group_size=rows, compression="zstd")
    data, meta = path.read_bytes(), pq.read_metadata(path)
    length = int.from_bytes(data[-8:-4], "little")
    for _ in range(10):
        meta.append_row_groups(meta)
    assert meta.num_rows == 1 << 32
    meta.write_metadata_file(tmp_path / "meta")
    path.write_bytes(data[: -8 - length] + (tmp_path / "meta").read_bytes()[4:])
    with pytest.raises(TraceError, match=r"claims [\d,]+ bytes of column data for 4,294,967,296 rows"):
        read_footer(path)


def test_other_rows_than_those_of_the_row_groups_are_refused(make_trace: MakeTrace) -> None:
    path = make_trace(rows=123_457)
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8].replace(zigzag(123_457), zigzag(123_458), 1)  # the first is the file's
    with pytest.raises(TraceError, match=r"claims 123,458 rows, its row groups 123,457"):
        parse_footer(path, footer, len(data))


def test_other_values_than_rows_are_refused(make_trace: MakeTrace) -> None:
    path = make_trace(rows=123_457, compression="zstd")
    before = b"time" + b"\x15\x0c\x16" + zigzag(123_457)
    with pytest.raises(TraceError, match=r"row group 0, column 'time': .*123,458 values for 123,457 rows"):
        parse_changed(path, before, before[:-3] + zigzag(123_458))


def test_full_width_values_need_their_bytes(make_trace: MakeTrace) -> None:
    path = make_trace(rows=123_457, columns={"size": None}, use_dictionary=False, compression="none")
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - length : -8].replace(zigzag(123_457), zigzag(2_000_000))
    with pytest.raises(
        TraceError, match=r"row group 0, column 'time': the footer claims 2,000,000 values of 8 bytes each"
    ):
        parse_footer(path, footer, len(data))


def test_an_unknown_codec_is_refused(make_trace: MakeTrace) -> None:
    """pyarrow ends the process here."""
    path = make_trace(rows=123_457, compression="zstd", columns={"size": None})
    # Field 4 of the chunk's metadata (the codec, an i32) and field 5 (values, an i64) of `time`.
    before = b"time" + b"\x15\x0c\x16" + zigzag(123_457)
    with pytest.raises(TraceError, match=r"row group 0, column 'time': the compression codec 11 is unknown"):
        parse_changed(path, before, before.replace(b"\x15\x0c", b"\x15\x16"))


@pytest.mark.parametrize("encodings", [b"\x19\x15\x22", b"\x19\x19\x15\x00"])
def test_an_unknown_encoding_is_refused(make_trace: MakeTrace, encodings: bytes) -> None:
    """One code that means nothing, and a list where a code should be."""
    path = make_trace(use_dictionary=False, columns={"size": None}, compression="zstd")
    # Type INT64 (field 1) and a list of two encodings (field 2) of `time`, then its name.
    before = b"\x15\x04\x19%\x06\x00\x19\x18\x04time"
    after = before.replace(b"\x19%\x06\x00", encodings)
    with pytest.raises(TraceError, match=r"column 'time': an encoding is unknown"):
        parse_changed(path, before, after)


def test_a_footer_that_is_no_thrift_is_refused(make_trace: MakeTrace) -> None:
    path = make_trace()
    with pytest.raises(TraceError, match="its footer is damaged"):
        parse_footer(path, b"\xff" * 100, path.stat().st_size)


def test_a_chunk_outside_the_file_is_refused(make_trace: MakeTrace) -> None:
    path = make_trace(rows=10_000)
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    with pytest.raises(
        TraceError, match=r"column 'time': the footer places [\d,]+ bytes at offset 4 of a file"
    ):
        parse_footer(path, data[-8 - length : -8], 100)


def test_a_constant_column_may_be_tiny(make_trace: MakeTrace) -> None:
    rows = 3_000_000
    path = make_trace(rows=rows, columns=constant_columns(rows), row_group_size=rows)
    assert path.stat().st_size < rows / 50
    assert read_footer(path).groups[0].rows == rows


def test_a_schema_that_is_no_tree_is_refused(make_trace: MakeTrace) -> None:
    path = make_trace()
    with pytest.raises(TraceError, match="no tree"):
        # Field 5 of the root element: the number of its children, before its name.
        parse_changed(path, b"\x18\x06schema\x15\x0a", b"\x18\x06schema\x15\x0c")


def test_the_path_in_messages_is_that_of_the_user() -> None:
    with pytest.raises(TraceError, match=r"^a/b\.parquet: "):
        parse_footer(Path("a/b.parquet"), b"", 100)
