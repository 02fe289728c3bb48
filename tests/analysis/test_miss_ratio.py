"""Miss-ratio curves: exact by hand, and every other method within its stated error of the exact one on real traces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from eptreplay.analysis.miss_ratio import Curve, from_distances
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.model.state.fast_path import NO_MEMORY
from eptreplay.model.state.rows import rows_of
from eptreplay.model.statistics.reuse import note_reuses, reuse_of
from eptreplay.model.statistics.reuse_arrays import new_reuse
from eptreplay.model.statistics.reuse_buckets import bucket_starts
from eptreplay.profiles import resolve
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.state.guest_memory import guest_ram_pages
from eptreplay.request.choices import MissRatio
from eptreplay.request.options import SHARDS_PAGES, SHARDS_WEIGHT, Options
from eptreplay.results.findings import findings

if TYPE_CHECKING:
    from eptreplay.ingest.trace.guest_trace import GuestTrace

SAMPLES = Path(__file__).parents[2] / "traces"
NAMES = ("web-1vcpu", "boot-2vcpu", "full-2vcpu")


def test_a_curve_worked_out_by_hand() -> None:
    """Pages 1 2 3 1 2 3 1 1: three first touches, four accesses of distance 2, one of distance 0."""
    distances = np.zeros((2, 4), np.int64)
    distances[:, 2] = 2
    curve = from_distances(np.arange(4), distances, 3, 8, 1.0)
    assert curve.pages.tolist() == [1, 2, 3]
    assert curve.miss_ratio.tolist() == [7 / 8, 7 / 8, 3 / 8]
    assert curve.error.tolist() == [0, 0, 0]


def curve_of(trace: GuestTrace, most_pages: int, weight: int = 1) -> tuple[Curve, float]:
    """Return the curve of a trace by a sample of so many pages, one in `weight` at most, and the sampling rate."""
    ram_pages = guest_ram_pages(trace)
    fast_path = np.full(ram_pages[-1, 1] + 1, NO_MEMORY)
    for begin, end in ram_pages:
        fast_path[begin:end] = 0
    reuse = new_reuse(np.array([0, len(fast_path) - 1]), most_pages, weight)
    touched = np.zeros(len(fast_path), bool)
    accesses = 0
    for batch in read_batches(trace, size=False):
        note_reuses(reuse, fast_path, rows_of(batch.gpa, batch.op), 0, batch.rows)
        accesses += batch.rows
        touched[np.minimum(batch.gpa >> np.uint64(12), np.uint64(len(fast_path) - 1))] = True
    found = reuse_of(reuse, 0)
    first = int(np.count_nonzero(touched & (fast_path != NO_MEMORY)))
    return from_distances(
        bucket_starts(), found.distances, first, accesses, 1 / found.weight
    ), 1 / found.weight


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_within_their_stated_error_of_the_exact_curve(name: str) -> None:
    trace = find_traces([str(SAMPLES / f"{name}.parquet")])[0]
    exact, _ = curve_of(trace, 1 << 30)
    assert exact.error.max() == 0
    for most_pages, weight in ((4096, 1), (1024, 1), (256, 1), (SHARDS_PAGES, SHARDS_WEIGHT), (256, 4)):
        curve, rate = curve_of(trace, most_pages, weight)
        expected = np.interp(curve.pages, exact.pages, exact.miss_ratio)
        assert rate <= 1 / weight
        assert (np.abs(curve.miss_ratio - expected) <= curve.error + 1e-12).all(), (most_pages, weight)
        assert (rate < 1) == (curve.error.max() > 0)


@pytest.mark.parametrize("name", NAMES)
def test_bounds_from_interval_statistics_hold_the_exact_curve(name: str) -> None:
    trace = find_traces([str(SAMPLES / f"{name}.parquet")])[0]
    options = Options(intervals=48, page_accesses=False, mrc=MissRatio.EXACT)
    table = findings(replay_trace(trace, [resolve("ept-ad")], options), ["ept-ad"], options.link)[
        "miss_ratio"
    ]
    method = np.array(table["method"])
    exact, statistics = method == "exact", method == "intervals"
    ratio, sizes = np.array(table["miss_ratio"]), np.array(table["memory_bytes"])
    assert statistics.sum() > 5
    expected = np.interp(sizes[statistics], sizes[exact], ratio[exact])
    assert (np.abs(ratio[statistics] - expected) <= np.array(table["error"])[statistics] + 1e-12).all()
    assert ratio[statistics][-1] == pytest.approx(ratio[exact][-1]), (
        "with all its pages only first touches miss"
    )
