from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.ingest.parquet.thrift import CompactReader, ThriftError

STRUCT = 12


def test_a_struct_is_read_by_field_numbers() -> None:
    # Field 1: i32 -3. Field 2 (delta 1): binary "ab". Field 3: true. Field 20 (long form): list of two i64.
    data = bytes([0x15, 0x05, 0x18, 2, *b"ab", 0x11, 0x09, 40, 0x26, 2, 4, 0x00])
    assert CompactReader(data).value(STRUCT) == {1: -3, 2: b"ab", 3: True, 20: [1, 2]}


def test_bools_in_a_list_have_a_byte_each() -> None:
    assert CompactReader(bytes([0x19, 0x21, 1, 2, 0])).value(STRUCT) == {1: [1, 2]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "end too early"),
        (b"\x18\x7fab", "end too early"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f", "end too early"),
        (b"\x15" + b"\xff" * 11, "too long"),
        (b"\x1e", "type 14 is unknown"),
        (b"\x1b\x00\x00", "type 11 is unknown"),  # a map: Parquet has none
        (b"\x1c" * 1000, "nested too deeply"),
    ],
)
def test_bytes_that_break_the_protocol_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ThriftError, match=message):
        CompactReader(data).value(STRUCT)


@given(st.binary(max_size=200))
def test_any_bytes_make_a_struct_or_a_thrift_error(data: bytes) -> None:
    try:
        value = CompactReader(data).value(STRUCT)
    except ThriftError:
        return
    assert isinstance(value, dict)
