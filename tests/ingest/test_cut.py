from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from eptreplay.errors import OutputError, TraceError, UsageError
from eptreplay.ingest.native.cut import cut_trace, sha256
from eptreplay.ingest.parquet.file import read_footer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace

LAYOUT: dict[str, Any] = {
    "use_dictionary": ["vcpu", "op", "size"],
    "column_encoding": {"time": "DELTA_BINARY_PACKED", "gpa": "PLAIN"},
    "compression": "zstd",
    "write_page_checksum": False,
}


def test_a_cut_is_the_first_row_groups_row_for_row(tmp_path: Path, make_trace: MakeTrace) -> None:
    source, target = (
        make_trace("source.parquet", rows=250, row_group_size=100, **LAYOUT),
        tmp_path / "cut.parquet",
    )
    assert cut_trace(source, target, 2) == 200
    assert pq.read_table(target).equals(pq.read_table(source).slice(0, 200))
    assert [group.rows for group in read_footer(target).groups] == [100, 100]


def test_a_cut_keeps_schema_encodings_and_metadata(tmp_path: Path, make_trace: MakeTrace) -> None:
    source, target = (
        make_trace("source.parquet", rows=250, row_group_size=100, **LAYOUT),
        tmp_path / "cut.parquet",
    )
    cut_trace(source, target, 1)
    before, after = read_footer(source), read_footer(target)
    for name, chunk in before.groups[0].chunks.items():
        # The copy is packed harder and has page checksums; everything else is the same.
        assert after.groups[0].chunks[name]._replace(extent=chunk.extent) == chunk
    assert pq.read_schema(target).equals(pq.read_schema(source))
    assert after.metadata == {
        **before.metadata,
        "cut_rows": "100",
        "cut_source": "source.parquet",
        "cut_source_sha256": sha256(source),
    }


@pytest.mark.parametrize("row_groups", [0, 4])
def test_more_row_groups_than_there_are_cannot_be_cut(
    tmp_path: Path, make_trace: MakeTrace, row_groups: int
) -> None:
    source = make_trace("source.parquet", rows=250, row_group_size=100)
    with pytest.raises(UsageError, match=f"cut 1 to 3 row groups, not {row_groups}"):
        cut_trace(source, tmp_path / "cut.parquet", row_groups)


def test_a_damaged_source_is_named_and_leaves_no_cut(tmp_path: Path, make_trace: MakeTrace) -> None:
    source = make_trace("source.parquet", rows=1000)
    data = bytearray(source.read_bytes())
    data[200] ^= 0xFF
    source.write_bytes(data)
    with pytest.raises(TraceError, match="row group 0: its data is damaged"):
        cut_trace(source, tmp_path / "cut.parquet", 1)
    assert list(tmp_path.iterdir()) == [source]


def test_a_cut_that_cannot_be_written_is_named(tmp_path: Path, make_trace: MakeTrace) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        cut_trace(make_trace("source.parquet"), tmp_path / "none" / "cut.parquet", 1)
