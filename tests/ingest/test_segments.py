from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.trace.segments import parse_segments_json, ram_ranges

if TYPE_CHECKING:
    from eptreplay.ingest.trace.schema import Segment


def parse(*segments: object) -> tuple[Segment, ...]:
    return parse_segments_json(json.dumps(list(segments)), "t.parquet")


def ram(gpa: int, length: int) -> dict[str, object]:
    return {"gpa": gpa, "bytes": length, "kind": "ram"}


def test_segments_come_in_ascending_order() -> None:
    assert [s.gpa for s in parse(ram(8192, 4096), ram(0, 4096))] == [0, 8192]


def test_memory_that_touches_is_one_range() -> None:
    assert ram_ranges(parse(ram(0, 4096), ram(4096, 8192))) == ((0, 3),)


def test_a_hole_parts_two_ranges() -> None:
    hole = {"gpa": 4096, "bytes": 4096, "kind": "hole"}
    assert ram_ranges(parse(ram(0, 4096), hole, ram(8192, 4096))) == ((0, 1), (2, 3))


def test_partial_pages_are_no_memory() -> None:
    assert ram_ranges(parse(ram(100, 3 * 4096))) == ((1, 3),)


def test_segments_may_share_a_page() -> None:
    assert ram_ranges(parse(ram(0, 100), ram(100, 4096 - 100))) == ((0, 1),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ("[" + "9" * 5000 + "]", "no valid JSON"),
        ("{}", "is {}"),
        ("[]", r"is \[\]"),
        ("[7]", "segment 0 is 7"),
        ('[{"gpa": "0", "bytes": 1, "kind": "ram"}]', "'gpa' is '0'"),
        ('[{"gpa": 0, "bytes": 4096.0, "kind": "ram"}]', "'bytes' is 4096.0"),
        ('[{"gpa": true, "bytes": 4096, "kind": "ram"}]', "'gpa' is True"),
        ('[{"gpa": 0, "kind": "ram"}]', "'bytes' is None"),
        ('[{"gpa": 0, "bytes": 4096, "kind": 5}]', "'kind' is 5"),
        ('[{"gpa": -4096, "bytes": 4096, "kind": "ram"}]', "spans 4,096 bytes from -0x1000"),
        ('[{"gpa": 0, "bytes": 0, "kind": "ram"}]', "spans 0 bytes"),
        ('[{"gpa": 281474976706560, "bytes": 8192, "kind": "ram"}]', "48-bit"),
        ('[{"gpa": 0, "bytes": 4096, "kind": "rom"}]', "holds no memory"),
        ('[{"gpa": 1, "bytes": 4096, "kind": "ram"}]', "holds no memory"),
    ],
)
def test_a_layout_that_makes_no_sense_is_named(text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        parse_segments_json(text, "t.parquet")
    assert str(caught.value).startswith("t.parquet: ")
    assert "memory_segments" in str(caught.value)


def test_overlapping_segments_are_named_with_their_addresses() -> None:
    with pytest.raises(TraceError, match=r"0x2000 .* overlaps the one at 0x1000 .* ends at 0x3000"):
        parse(ram(0x1000, 0x2000), ram(0x2000, 0x1000))
