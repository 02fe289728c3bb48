from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from eptreplay.ingest.native.outside import Outside
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import open_trace

if TYPE_CHECKING:
    from tests.ingest.conftest import MakeTrace


@pytest.mark.parametrize("counted", [False, True])
def test_accesses_outside_memory_are_counted_with_their_bounds(make_trace: MakeTrace, counted: bool) -> None:
    gpa = np.array([0, 4095, 4096, 8191, 8192, 12288, 16383, 16384, 1 << 40, 1 << 41], np.uint64)
    op = [0, 1, 0, 1, 2, 0, 0, 1, 0, 41]  # the last is an event
    count = pa.array(range(1, 11), pa.uint32()) if counted else None
    columns = {"gpa": gpa, "op": op, "count": count}
    outside = Outside([(0, 1), (2, 3), (3, 4)])
    for batch in read_batches(open_trace(make_trace(rows=10, columns=columns)), batch_rows=3):
        outside.add(batch)
    assert outside.rows == 4
    assert (outside.lowest, outside.highest) == (4096, 1 << 40)
    assert (outside.accesses, outside.all_accesses) == ((3 + 4 + 8 + 9, 45) if counted else (4, 9))
