from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.native.decode import Piece, decode
from eptreplay.ingest.parquet.file import open_parquet
from eptreplay.ingest.sources.dataset import open_trace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace

NAMES = ("gpa", "op")


def pieces(path: Path, *, batch_rows: int = 1 << 18, rows: int | None = None) -> list[Piece]:
    trace = open_trace(path)
    group = trace.row_groups[0]
    if rows is not None:
        group = replace(group, rows=rows)
    with open_parquet(path, trace.digests[path]) as file:
        return list(decode(file, group, NAMES, batch_rows))


def test_pieces_are_the_rows_in_order(make_trace: MakeTrace) -> None:
    path = make_trace(rows=1000)
    found = pieces(path, batch_rows=300)
    assert [piece.row for piece in found] == [0, 300, 600, 900]
    table = pq.read_table(path)
    for name in NAMES:
        assert np.array_equal(
            np.concatenate([piece.columns[name] for piece in found]), table[name].to_numpy()
        )


def test_arrays_are_views_that_cannot_be_written(make_trace: MakeTrace) -> None:
    (piece,) = pieces(make_trace())
    for array in piece.columns.values():
        assert array.base is not None
        assert not array.flags.writeable
        assert array.flags.c_contiguous
        assert array.flags.aligned


def test_nulls_are_told_apart(make_trace: MakeTrace) -> None:
    (piece,) = pieces(make_trace(rows=3, columns={"op": pa.array([1, None, 2], pa.uint8())}))
    assert piece.nulls["op"].tolist() == [False, True, False]
    assert piece.columns["op"].tolist() == [1, 0, 2]
    assert "gpa" not in piece.nulls


@pytest.mark.parametrize("claimed", [99, 101])
def test_other_rows_than_the_footer_says_are_refused(make_trace: MakeTrace, claimed: int) -> None:
    with pytest.raises(TraceError, match=f"row group 0: the pages hold .* rows; expected {claimed} rows"):
        pieces(make_trace(rows=100), rows=claimed)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_page_is_named_with_its_column(make_trace: MakeTrace, name: str) -> None:
    path = make_trace(rows=1000, use_dictionary=False, compression="none")
    chunk = next(
        column
        for column in map(pq.read_metadata(path).row_group(0).column, range(5))
        if column.path_in_schema == name
    )
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        TraceError, match=f"row group 0, column '{name}': its data is damaged .*CRC"
    ) as caught:
        pieces(path)
    assert caught.value.file == str(path)
