"""More than a thousand damaged files: no crash, no hang, and nothing that differs without a word."""

from __future__ import annotations

import hashlib
import io
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.ingest.damage import KINDS, outcomes

TRACES = Path(__file__).parents[2] / "traces"
ROWS = 6000
FILES = 252
"""Of each kind of file of each trace; there are two traces and four kinds."""

GUARDS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "checksums": {"write_page_checksum": True},
    "checksums and page index": {"write_page_checksum": True, "write_page_index": True},
    "manifest": {},
}


def small(name: str, **options: object) -> bytes:
    """Return rows of a sample as a file of several row groups and many pages."""
    table = pq.read_table(TRACES / f"{name}.parquet")
    table = table.slice(table.num_rows // 2, ROWS)
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=2000,
        data_page_size=1000,
        write_batch_size=100,
        use_dictionary=False,
        **options,
    )
    return sink.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["web-1vcpu", "boot-2vcpu"])
@pytest.mark.parametrize("guard", GUARDS)
def test_damage_is_refused_or_harmless_or_the_file_is_called_unverified(
    tmp_path: Path, name: str, guard: str
) -> None:
    data = small(name, **GUARDS[guard])
    manifest = f"{hashlib.sha256(data).hexdigest()}  trace.parquet\n" if guard == "manifest" else ""
    counts = outcomes(data, tmp_path, FILES, seed=10, manifest=manifest)
    told: Counter[str] = Counter()
    for (_, outcome), number in counts.items():
        told[outcome] += number
    sys.stdout.write(f"\n{name}, guarded by {guard}: {dict(told)}; {dict(counts)}\n")
    assert sum(told.values()) == FILES
    assert told["refused"] > FILES / 2
    silent = {kind: number for (kind, outcome), number in counts.items() if outcome == "silent"}
    if guard in {"nothing", "manifest"}:
        assert not silent
        assert not told["metadata"]
    elif guard == "checksums":
        # Good pages in the wrong place, between the smallest and the largest value of their chunk: docs/traces.md.
        assert silent.keys() <= {"swapped pages", "doubled page"}
    else:
        # Pages of equal length and equal smallest and largest value.
        assert silent.keys() <= {"swapped pages", "doubled page"}
    assert {kind for kind, _ in counts} == set(KINDS)
