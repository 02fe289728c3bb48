"""The access loop: its shortcuts change no answer, and its counts are those of plain queries."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eptreplay.ingest.native.reader import Batch
from eptreplay.model._numba.pointer import arrays_of
from eptreplay.model.access_loop.deferred_accessed import DEFERRED
from eptreplay.model.instances import GuestMemory
from eptreplay.model.state.fast_path import NO_OP
from eptreplay.profiles import resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.rows.batch import row_batch
from eptreplay.request.choices import Policy
from eptreplay.request.options import TlbOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 4096
PAGES = 1400
RAM = np.array([[0, 600], [650, PAGES]], np.int64)
PROFILES = ("ept-ad", "ept-emul", "ept-emul-xo", "ept-ad-nosp", "x86")
HARDWARE = ("ept-ad", "ept-ad-nosp", "x86", "broadwell")  # the last logs page modifications
CUTS = 4


def random_rows(seed: int, rows: int, *, dense: bool, crossing: bool, counted: bool) -> dict[str, Any]:
    """Return columns of random rows; dense ones fill whole superpages."""
    rng = np.random.default_rng(seed)
    page = rng.integers(0, PAGES + 30, rows) if dense else rng.integers(0, 60, rows) * 23
    if dense:
        page[: rows // 2] = np.arange(rows // 2) % 1024
    columns: dict[str, Any] = {
        "gpa": page.astype(np.uint64) * np.uint64(PAGE) + rng.integers(0, PAGE, rows).astype(np.uint64),
        "op": rng.choice(3, rows, p=[0.4, 0.4, 0.2]).astype(np.uint8),
        "vcpu": rng.integers(0, 2, rows).astype(np.uint8),
        "size": rng.integers(1, 65 if crossing else 2, rows).astype(np.uint8),
        "count": rng.integers(1, 5, rows).astype(np.uint32) if counted else None,
    }
    for column in columns.values():
        if column is not None:
            column.flags.writeable = False
    return columns


def run(
    columns: dict[str, Any],
    policy: Policy,
    pieces: int,
    *,
    cuts: int = CUTS,
    profiles: Sequence[str] = PROFILES,
    **options: Any,  # noqa: ANN401 - Replay's own
) -> Replay:
    """Replay rows in pieces, with sweeps and ends of intervals between some of them."""
    replay = Replay([resolve(name) for name in profiles], [GuestMemory(RAM, 2)], intervals=cuts, **options)
    rows = len(columns["gpa"])
    batch = Batch(row_group=0, first_row=0, rows=rows, time=None, **columns)
    bounds = np.linspace(0, rows, pieces + 1).astype(int)
    for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
        replay.replay(row_batch(batch, 0, None), int(begin), int(end))
        if number % 2:
            replay.sweep(policy)
        if cuts and number % (pieces // cuts) == 0:
            replay.close_interval()
    return replay


def state_of(replay: Replay, *, statistics: bool = True) -> dict[str, Any]:
    """Return everything that a replay knows, except for what its shortcuts rest on."""
    replay.write_deferred()
    known: dict[str, Any] = {
        name: array.tobytes()
        for name, array in arrays_of(replay.states).items()
        if name not in ("fast_path", "host")
    }
    known |= {name: array.tobytes() for name, array in arrays_of(replay.log).items()}
    known["tally"] = [
        replay.statistics.tally[name].tolist()
        for name in ("reads", "writes", "fetches", "unbacked", "harvest_written")
    ]
    if statistics:
        known |= {
            name: getattr(replay.statistics, name).tobytes()
            for name in ("first_row", "touch", "region", "heat", "first_writes", "returns")
        }
    return known


@pytest.mark.parametrize("policy", list(Policy))
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), dense=st.booleans(), crossing=st.booleans(), counted=st.booleans())
def test_the_models_give_the_same_answers_when_they_make_every_access(
    policy: Policy, seed: int, dense: bool, crossing: bool, counted: bool
) -> None:
    columns = random_rows(seed, 6000, dense=dense, crossing=crossing, counted=counted)
    assert state_of(run(columns, policy, 8)) == state_of(run(columns, policy, 8, slow_path=True))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    dense=st.booleans(),
    crossing=st.booleans(),
    policies=st.lists(st.sampled_from([*Policy, None]), min_size=1, max_size=4),
    every=st.sampled_from([97, 400, 1000]),
)
def test_deferred_accessed_bits_are_those_that_the_models_would_set(
    seed: int, dense: bool, crossing: bool, policies: list[Policy | None], every: int
) -> None:
    """Sweeps of both kinds and checksums of the tables come between; None is a checksum."""
    columns = random_rows(seed, 6000, dense=dense, crossing=crossing, counted=False)
    batch = Batch(row_group=0, first_row=0, rows=6000, time=None, **columns)
    sums: list[list[list[int]]] = []
    replays = [
        Replay([resolve(name) for name in HARDWARE], [GuestMemory(RAM, 2)], slow_path=slow)
        for slow in (False, True)
    ]
    for replay in replays:
        sums.append([])
        for number, begin in enumerate(range(0, 6000, every)):
            replay.replay(row_batch(batch, 0, None), begin, min(begin + every, 6000))
            replay.sweep(Policy.AGE)
            policy = policies[number % len(policies)]
            if policy is None:
                sums[-1].append(replay.state_sums())
            else:
                replay.sweep(policy)
    assert sums[0] == sums[1]
    assert state_of(replays[0]) == state_of(replays[1])


def test_accessed_bits_are_deferred_where_every_processor_sets_them() -> None:
    columns = random_rows(1, 6000, dense=True, crossing=False, counted=False)
    found = {name: run(columns, Policy.AGE, 40, profiles=[name]).statistics for name in PROFILES}
    uses = {
        name: bool((statistics.deferred & DEFERRED).any() or (statistics.deferred & NO_OP).any())
        for name, statistics in found.items()
    }
    assert uses == {name: not name.startswith("ept-emul") for name in PROFILES}


@pytest.mark.parametrize("policy", list(Policy))
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), dense=st.booleans(), crossing=st.booleans())
def test_tlbs_change_no_table_and_find_the_same_on_the_slow_path(
    policy: Policy, seed: int, dense: bool, crossing: bool
) -> None:
    columns = random_rows(seed, 5000, dense=dense, crossing=crossing, counted=False)
    plain = run(columns, policy, 8)
    fast = run(columns, policy, 8, tlb=TlbOptions())
    slow = run(columns, policy, 8, tlb=TlbOptions(), slow_path=True)
    assert state_of(plain) == state_of(fast) == state_of(slow)
    assert fast.tlb_counters().tobytes() == slow.tlb_counters().tobytes()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), crossing=st.booleans())
def test_where_intervals_end_is_nothing_to_the_models(seed: int, crossing: bool) -> None:
    columns = random_rows(seed, 6000, dense=True, crossing=crossing, counted=False)
    with_cuts, without = run(columns, Policy.AGE, 8), run(columns, Policy.AGE, 8, cuts=0)
    assert state_of(with_cuts, statistics=False) == state_of(without, statistics=False)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), pieces=st.sampled_from([2, 16, 50]))
def test_how_rows_are_cut_into_batches_changes_nothing(seed: int, pieces: int) -> None:
    columns = random_rows(seed, 9000, dense=True, crossing=True, counted=True)
    whole, cut = run(columns, Policy.PLAIN, 1, cuts=0), run(columns, Policy.PLAIN, pieces, cuts=0)
    assert state_of(whole, statistics=False) == state_of(cut, statistics=False)
    assert whole.statistics.first_row.tolist() == cut.statistics.first_row.tolist()


def test_profiles_in_one_pass_do_not_feel_each_other() -> None:
    columns = random_rows(5, 8000, dense=True, crossing=True, counted=False)
    together = run(columns, Policy.AGE, 8)
    batch = Batch(row_group=0, first_row=0, rows=8000, time=None, **columns)
    for number, name in enumerate(PROFILES):
        alone = Replay([resolve(name)], [GuestMemory(RAM, 2)], intervals=CUTS)
        for begin in range(0, 8000, 1000):
            alone.replay(row_batch(batch, 0, None), begin, begin + 1000)
            if begin // 1000 % 2:
                alone.sweep(Policy.AGE)
        assert alone.states.cnt[0].tobytes() == together.states.cnt[number].tobytes(), name
        assert alone.state_sums()[0] == together.state_sums()[number], name


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), counted=st.booleans())
def test_counts_and_first_rows_are_those_of_plain_queries(seed: int, counted: bool) -> None:
    columns = random_rows(seed, 5000, dense=True, crossing=True, counted=counted)
    replay = run(columns, Policy.PLAIN, 1, cuts=0)
    frame = pl.DataFrame({name: column for name, column in columns.items() if column is not None})
    frame = frame.with_row_index("row").with_columns(page=pl.col("gpa") // PAGE)
    if not counted:
        frame = frame.with_columns(count=pl.lit(1))
    second = frame.filter(pl.col("gpa") % PAGE + pl.col("size") > PAGE).with_columns(
        page=pl.col("page") + 1, gpa=(pl.col("page") + 1).cast(pl.UInt64) * PAGE, count=pl.lit(1)
    )
    both = pl.concat([frame.cast({"count": pl.Int64}), second.cast({"count": pl.Int64})])
    is_ram = (pl.col("page") < 600) | ((pl.col("page") >= 650) & (pl.col("page") < PAGES))
    made = both.filter(is_ram)
    totals = [int(made.filter(pl.col("op") == op)["count"].sum()) for op in range(3)]
    tally = replay.statistics.tally[0]
    assert [tally.reads, tally.writes, tally.fetches] == totals
    outside = both.filter(~is_ram)
    assert (tally.unbacked, tally.unbacked_rows) == (outside["count"].sum(), outside["row"].n_unique())
    assert (tally.unbacked_low, tally.unbacked_high) == (outside["gpa"].min() or 0, outside["gpa"].max() or 0)
    first = made.group_by("page").agg(pl.col("row").min()).sort("page")
    found = np.flatnonzero(replay.statistics.first_row)
    assert found.tolist() == first["page"].to_list()
    assert (replay.statistics.first_row[found] - 1).tolist() == first["row"].to_list()
