"""A scan of all rows says what plain numpy says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eptreplay.ingest.native.row_scan import PIECE_ROWS, scan_rows

ROWS = st.integers(1, 3) | st.sampled_from([PIECE_ROWS - 1, PIECE_ROWS, PIECE_ROWS + 1, 2 * PIECE_ROWS + 5])
TOP = 1 << 63


def columns_of(data: st.DataObject, rows: int) -> dict[str, Any]:
    """Return valid columns of so many rows, and a few values of the caller's choice in them."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    columns: dict[str, Any] = {
        "gpa": rng.integers(0, 1 << 40, rows, np.uint64) << np.uint64(3),
        "op": rng.integers(0, 3, rows, np.uint8),
        "size": rng.choice(np.array([1, 8], data.draw(st.sampled_from([np.uint8, np.uint16]))), rows),
        "time": np.sort(rng.integers(0, 1 << 40, rows, np.uint64)),
    }
    values = {
        "gpa": [0, 4095, 4089, (1 << 48) - 1, 1 << 48, 2**64 - 1],
        "op": [2, 3, 16, 255],
        "size": [0, 2, 255],
        "time": [0, 1, TOP - 1, TOP, 2**64 - 1],
    }
    for name, column in columns.items():
        for value in data.draw(st.lists(st.sampled_from(values[name]), max_size=2)):
            column[data.draw(st.integers(0, rows - 1))] = value
    for column in columns.values():
        column.flags.writeable = False
    return columns


@given(st.data(), ROWS, st.sets(st.sampled_from(["gpa", "op", "size", "time"])))
def test_a_look_sees_what_plain_queries_see(data: st.DataObject, rows: int, missing: set[str]) -> None:
    columns = {name: column for name, column in columns_of(data, rows).items() if name not in missing}
    last_time = data.draw(st.sampled_from([0, 1, 1 << 39]))
    seen = scan_rows(columns, last_time)
    gpa, size, time = (columns.get(name, np.zeros(0, np.uint64)) for name in ("gpa", "size", "time"))
    op = columns.get("op", np.zeros(0, np.uint8))
    assert seen.gpa == (int(gpa.min(initial=2**64 - 1)), int(gpa.max(initial=0)))
    assert seen.op == (int(op.min(initial=255)), int(op.max(initial=0)))
    assert seen.size == int(size.max(initial=0))
    if len(gpa) and len(size):
        assert seen.crosses == bool(((gpa % 4096) + size > 4096).any())
    else:
        assert not seen.crosses
    if len(time):
        backwards = int(time[0]) < last_time or bool((time[1:] < time[:-1]).any())
        assert seen.disordered >= backwards
        assert seen.disordered == backwards or int(time.max()) >= TOP
    else:
        assert not seen.disordered
