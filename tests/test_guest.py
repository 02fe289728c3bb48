"""A whole trace replayed: what decoding, prefetching, threads and switches must not change, and what queries say."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.synth.synthetic import Synthetic, write_synthetic
from eptreplay.profiles import resolve
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.rows import in_order as feed
from eptreplay.request.choices import Policy
from eptreplay.request.options import Options, TlbOptions
from eptreplay.results.tables import tables
from eptreplay.units import Every

if TYPE_CHECKING:
    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.found.guest import GuestResult

PROFILES = ("ept-ad", "ept-emul", "x86")
EVERY = Every(7000, timed=False)
INTERVALS = 12


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> GuestTrace:
    """Return a made-up trace of two vCPUs."""
    path = tmp_path_factory.mktemp("guest") / "zipf.parquet"
    write_synthetic(path, Synthetic(rows=60_000, memory_bytes=8 << 20, distribution="zipf", vcpus=2))
    return open_trace(path)


def told(result: GuestResult) -> dict[str, Any]:
    """Return all tables of a result, as plain lists."""
    found = tables(result, PROFILES, Options().link)
    return {
        f"{table}.{name}": column.tolist() if isinstance(column, np.ndarray) else list(column)
        for table, columns in found.items()
        for name, column in columns.items()
    }


def replayed(trace: GuestTrace, policy: Policy, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - Options' own
    """Return all tables of a replay."""
    every = Options(policy=policy, every=EVERY, intervals=INTERVALS, **options)
    return told(replay_trace(trace, [resolve(name) for name in PROFILES], every))


@pytest.mark.parametrize("policy", list(Policy))
def test_the_slow_path_gives_the_same_tables(trace: GuestTrace, policy: Policy) -> None:
    assert replayed(trace, policy) == replayed(trace, policy, slow_path=True)


@pytest.mark.parametrize("policy", list(Policy))
def test_tlbs_add_a_table_and_change_no_other(trace: GuestTrace, policy: Policy) -> None:
    plain, with_tlbs = replayed(trace, policy), replayed(trace, policy, tlb=TlbOptions())
    added = {name for name in plain if name.startswith("translations.")}
    assert {name: plain[name] for name in plain.keys() - added} == {
        name: with_tlbs[name] for name in plain.keys() - added
    }
    assert plain["translations.profile"] == []
    assert with_tlbs["translations.profile"] == list(PROFILES)
    levels = [
        with_tlbs[f"translations.{side}_refs_l{level}"] for side in ("guest", "host") for level in range(1, 5)
    ]
    assert np.sum(levels, axis=0).tolist() == with_tlbs["translations.walk_refs"]


@pytest.mark.parametrize(("prefetch", "batch_rows"), [(False, 1 << 18), (True, 1000), (False, 4097)])
def test_prefetching_and_the_size_of_batches_change_nothing(
    trace: GuestTrace, monkeypatch: pytest.MonkeyPatch, prefetch: bool, batch_rows: int
) -> None:
    expected = replayed(trace, Policy.AGE)
    monkeypatch.setattr(feed, "read_batches", partial(read_batches, prefetch=prefetch, batch_rows=batch_rows))
    assert replayed(trace, Policy.AGE) == expected


def test_guests_on_two_threads_get_what_each_gets_alone(trace: GuestTrace) -> None:
    expected = replayed(trace, Policy.HARVEST)
    with ThreadPoolExecutor(2) as executor:
        found = list(executor.map(lambda _: replayed(trace, Policy.HARVEST), range(3)))
    assert found == [expected] * 3


def test_pages_and_intervals_are_those_of_plain_queries(trace: GuestTrace) -> None:
    found = replayed(trace, Policy.PLAIN, page_accesses=True)
    rows = pl.from_arrow(pq.read_table(trace.files[0], columns=["time", "gpa", "op"]))
    assert isinstance(rows, pl.DataFrame)
    begin, end = int(rows["time"][0]), int(rows["time"][-1])
    cuts = [begin + -(-(end - begin) * k // INTERVALS) for k in range(1, INTERVALS)]
    interval = np.searchsorted(cuts, rows["time"].to_numpy(), side="right")
    rows = rows.with_row_index("row").with_columns(
        gpa=pl.col("gpa") // 4096 * 4096, interval=pl.Series(interval.astype(np.int64))
    )
    written = pl.col("op") == 1
    pages = (
        rows.group_by("gpa")
        .agg(
            first_row=pl.col("row").min(),
            last_interval=pl.col("interval").max(),
            writes=written.sum(),
            last_write_interval=pl.col("interval").filter(written).max(),
        )
        .sort("gpa")
    )
    for name in pages.columns:
        assert found[f"pages.{name}"][: pages.height] == pages[name].to_list(), name
    by_interval = (
        rows.group_by("interval")
        .agg(touched=pl.col("gpa").n_unique(), written=pl.col("gpa").filter(written).n_unique())
        .sort("interval")
    )
    assert found["intervals.pages_touched"][:INTERVALS] == by_interval["touched"].to_list()
    assert found["intervals.pages_written"][:INTERVALS] == by_interval["written"].to_list()
