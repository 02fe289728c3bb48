from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from eptreplay.errors import UsageError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.synth.synthetic import Synthetic, write_synthetic

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MIB, GIB = 1 << 20, 1 << 30


def columns(path: Path, **options: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401  options of several types
    write_synthetic(
        path, Synthetic(**{"rows": 50_000, "memory_bytes": 64 * MIB, "distribution": "uniform", **options})
    )
    batches = list(read_batches(open_trace(path), vcpu=True))
    return {name: np.concatenate([getattr(b, name) for b in batches]) for name in ("time", "gpa", "op")}


@pytest.mark.parametrize("distribution", ["zipf", "uniform", "sequential"])
def test_a_trace_is_valid_and_lies_in_memory(tmp_path: Path, distribution: str) -> None:
    path = tmp_path / "t.parquet"
    found = columns(path, distribution=distribution, memory_bytes=5 * GIB, vcpus=3)
    trace = open_trace(path)
    assert (trace.rows, trace.vcpus, trace.time_unit) == (50_000, 3, "ns")
    assert trace.ram_ranges() == ((0, 3 * GIB >> 12), (4 * GIB >> 12, 6 * GIB >> 12))
    page = found["gpa"] >> np.uint64(12)
    assert all(
        ((page >= low) & (page < high)).any() or distribution == "sequential"
        for low, high in trace.ram_ranges()
    )
    assert sum(((page >= low) & (page < high)).sum() for low, high in trace.ram_ranges()) == 50_000
    assert (found["gpa"] % 8 == 0).all()


def test_the_same_seed_makes_the_same_rows(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        columns(tmp_path / name, seed=seed)
    a, b, c = (pq.read_table(tmp_path / name) for name in "abc")
    assert a.equals(b)
    assert not a["gpa"].equals(c["gpa"])


def test_shares_of_writes_and_fetches_are_those_asked_for(tmp_path: Path) -> None:
    op = columns(tmp_path / "t.parquet", write_share=0.1, fetch_share=0.6)["op"]
    assert np.bincount(op) / len(op) == pytest.approx([0.3, 0.1, 0.6], abs=0.02)
    op = columns(tmp_path / "t.parquet", write_share=1.0, fetch_share=0.0)["op"]
    assert (op == 1).all()


def test_uniform_touches_memory_evenly(tmp_path: Path) -> None:
    gpa = columns(tmp_path / "t.parquet")["gpa"]
    assert np.bincount((gpa >> np.uint64(23)).astype(int)) == pytest.approx(50_000 / 8, rel=0.1)


@pytest.mark.parametrize(("skew", "share"), [(0.5, 0.1), (1.0, 0.48), (1.5, 0.95)])
def test_zipf_puts_a_share_of_the_accesses_on_the_hottest_hundredth(
    tmp_path: Path, skew: float, share: float
) -> None:
    gpa = columns(tmp_path / "t.parquet", distribution="zipf", skew=skew)["gpa"]
    pages = 64 * MIB >> 12
    hits = np.sort(np.bincount((gpa >> np.uint64(12)).astype(int), minlength=pages))[::-1]
    assert hits[: pages // 100].sum() / len(gpa) == pytest.approx(share, abs=0.06)


def test_sequential_goes_line_by_line_round_and_round(tmp_path: Path) -> None:
    gpa = columns(tmp_path / "t.parquet", distribution="sequential", memory_bytes=MIB)["gpa"]
    assert (gpa == np.arange(50_000) * 64 % MIB).all()


def test_row_groups_follow_each_other_in_time(tmp_path: Path) -> None:
    rows = (1 << 20) + 5
    found = columns(tmp_path / "t.parquet", rows=rows)
    assert len(found["time"]) == rows
    assert len(open_trace(tmp_path / "t.parquet").row_groups) == 2
    assert (np.diff(found["time"].astype(np.int64)) >= 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "0 rows"),
        ({"memory_bytes": 1000}, "1000 bytes of memory"),
        ({"memory_bytes": 1 << 48}, "at most 128 TiB"),
        ({"distribution": "normal"}, "'normal' is unknown: zipf, uniform, sequential"),
        ({"vcpus": 0}, "0 vCPUs"),
        ({"write_share": 0.9}, "together at most 1"),
        ({"write_share": -0.1}, "at least 0"),
        ({"write_share": float("nan")}, "shares"),
        ({"skew": 0.0}, "skew 0.0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        columns(tmp_path / "t.parquet", **options)
    assert not list(tmp_path.iterdir())
