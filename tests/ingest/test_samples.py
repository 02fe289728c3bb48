from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import find_traces

SAMPLES = Path(__file__).parents[2] / "traces"
ROWS = {"boot-2vcpu": 4 << 20, "full-2vcpu": 1 << 20, "web-1vcpu": 3 << 20}
ACCESSES = {"boot-2vcpu": 4_194_304, "full-2vcpu": 257_056_974, "web-1vcpu": 3_145_728}
PAGES = {"boot-2vcpu": 1107, "full-2vcpu": 26_361, "web-1vcpu": 1471}


@pytest.mark.parametrize("name", ROWS)
def test_a_sample_is_a_valid_trace_of_what_its_readme_says(name: str) -> None:
    (trace,) = find_traces([str(SAMPLES / f"{name}.parquet")])
    assert (trace.rows, trace.name, trace.time_unit) == (ROWS[name], name, "ns")
    assert trace.metadata["cut_rows"] == str(trace.rows)
    accesses, pages, crossing = 0, set(), 0
    for batch in read_batches(trace, vcpu=True):
        accesses += batch.rows if batch.count is None else int(batch.count.sum(dtype=np.uint64))
        pages.update(np.unique(batch.gpa >> np.uint64(12)).tolist())
        assert batch.size is not None
        crossing += int(((batch.gpa % np.uint64(4096)) + batch.size > 4096).sum())
    assert (accesses, len(pages), crossing) == (ACCESSES[name], PAGES[name], 0)
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"{trace.rows:,} | {accesses:,}" in readme
    assert f"{len(pages):,} pages" in readme


def test_samples_are_small_enough_to_live_in_the_repository() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 12_000_000
