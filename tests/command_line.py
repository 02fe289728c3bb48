"""A command line to call in a test, and small traces to give it."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.cli import app as cli

if TYPE_CHECKING:
    from pathlib import Path

MEMORY = 4 << 20  # bytes of the small guest


class Answer(NamedTuple):
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


def eptreplay(*arguments: object) -> Answer:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["eptreplay", *map(str, arguments)]
    code = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    return Answer(code, out.getvalue(), err.getvalue())


def small_trace(
    path: Path,
    *,
    rows: int = 3000,
    row_group_size: int = 1000,
    memory: int = MEMORY,
    statistics: bool = True,
    **columns: Any,  # noqa: ANN401 - columns of any type
) -> Path:
    """Write a trace of reads, writes and fetches over 4 MiB; columns given replace or (None) drop the usual ones."""
    usual: dict[str, Any] = {
        "time": np.arange(rows, dtype=np.uint64) * 10,
        "vcpu": np.zeros(rows, np.uint8),
        "gpa": (np.arange(rows, dtype=np.uint64) * 4096) % MEMORY,
        "op": (np.arange(rows) % 3).astype(np.uint8),
    }
    usual.update(columns)
    table = pa.table({name: values for name, values in usual.items() if values is not None})
    metadata = {
        "memory_segments": json.dumps([{"gpa": 0, "bytes": memory, "kind": "ram"}]),
        "vcpus": "2",
        "memory_bytes": str(memory),
    }
    pq.write_table(
        table.replace_schema_metadata(metadata),
        path,
        row_group_size=row_group_size,
        write_statistics=statistics,
    )
    return path
