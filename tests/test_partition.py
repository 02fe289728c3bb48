"""One guest on several threads: the same tables as on one, whatever its trace, policy and profiles."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.command_line import eptreplay, small_trace

from eptreplay.errors import TraceError
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.synth.synthetic import Synthetic, write_synthetic
from eptreplay.model.access_loop.shares import region_owners, take_rows
from eptreplay.model.state.rows import rows_of
from eptreplay.profiles import resolve
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.shares.replay import is_large, replay_in_shares, why_whole
from eptreplay.request.choices import MissRatio, Policy
from eptreplay.request.host import HostOptions
from eptreplay.request.options import Options, TlbOptions
from eptreplay.results.tables import tables
from eptreplay.units import Every

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.replay.found.guest import GuestResult

PAGE = 4096
MIB = 1 << 20
GIB = 1 << 30
PROFILES = ("ept-ad", "ept-emul", "ept-emul-xo", "ept-ad-nosp", "x86")


def told(result: GuestResult, profiles: tuple[str, ...]) -> dict[str, Any]:
    """Return all tables of a result, as plain lists."""
    found = tables(result, profiles, Options().link)
    return {
        f"{table}.{name}": column.tolist() if isinstance(column, np.ndarray) else list(column)
        for table, columns in found.items()
        for name, column in columns.items()
    }


def check_alike(trace: GuestTrace, profiles: tuple[str, ...], options: Options, shares: int) -> None:
    """Check that a replay in shares tells exactly what a replay on one thread does."""
    resolved = [resolve(name) for name in profiles]
    assert why_whole(trace, resolved, options) == ""
    expected = told(replay_trace(trace, resolved, options), profiles)
    found = told(replay_in_shares(trace, resolved, options, shares), profiles)
    assert {name for name in expected if found[name] != expected[name]} == set()
    assert found.keys() == expected.keys()


# ---- the same tables -----------------------------------------------------------------------------


@st.composite
def traces(draw: st.DrawFn) -> dict[str, Any]:
    """Columns of a trace over 8 MiB and what lies beyond: dense or sparse, with rows that cross pages, or stand for several."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(1, 4000))
    page = rng.integers(0, 2100, rows)
    if draw(st.booleans()):  # whole superpages, so that some are promoted
        page[: rows // 2] = np.arange(rows // 2) % 1024
    columns: dict[str, Any] = {
        "time": np.cumsum(rng.integers(0, 30, rows)).astype(np.uint64),
        "gpa": page.astype(np.uint64) * np.uint64(PAGE) + rng.integers(0, PAGE, rows).astype(np.uint64),
        "op": rng.choice(3, rows, p=[0.4, 0.4, 0.2]).astype(np.uint8),
        "vcpu": rng.integers(0, draw(st.integers(1, 2)), rows).astype(np.uint8),
    }
    if draw(st.booleans()):
        columns["size"] = rng.integers(1, 129, rows).astype(np.uint8)
    if draw(st.booleans()):
        columns["count"] = rng.integers(1, 5, rows).astype(np.uint32)
    return columns


@settings(deadline=None, max_examples=40)
@given(
    traces(),
    st.sampled_from(list(Policy)),
    st.integers(1, 4),
    st.integers(0, 9),
    st.integers(50, 2000),
    st.booleans(),
    st.sampled_from(list(MissRatio)),
    st.sets(st.sampled_from(PROFILES), min_size=1).map(sorted),
)
def test_shares_tell_what_one_thread_tells(
    tmp_path_factory: pytest.TempPathFactory,
    columns: dict[str, Any],
    policy: Policy,
    shares: int,
    intervals: int,
    every: int,
    thorough: bool,
    mrc: MissRatio,
    profiles: list[str],
) -> None:
    path = tmp_path_factory.mktemp("shares") / "g.parquet"
    small_trace(path, rows=len(columns["gpa"]), memory=8 * MIB, **columns)
    options = Options(
        policy=policy,
        every=Every(every, timed=False),
        intervals=intervals,
        page_accesses=thorough,
        slow_path=thorough,
        mrc=mrc,
    )
    check_alike(open_trace(path), tuple(profiles), options, shares)


@pytest.mark.parametrize("policy", list(Policy))
def test_page_table_pages_that_shares_have_in_common_are_counted_once(tmp_path: Path, policy: Policy) -> None:
    rng = np.random.default_rng(5)
    pages = rng.integers(0, 5 * GIB // PAGE, 60)  # some gigabytes for several shares, some for one alone
    rows = 3000
    small_trace(
        tmp_path / "wide.parquet",
        rows=rows,
        memory=5 * GIB,
        gpa=(pages[rng.integers(0, 60, rows)] * PAGE).astype(np.uint64),
    )
    options = Options(policy=policy, every=Every(500, timed=False), intervals=5)
    check_alike(open_trace(tmp_path / "wide.parquet"), PROFILES, options, 3)


def test_rows_that_cross_into_the_region_of_another_share_touch_both_pages(tmp_path: Path) -> None:
    rows = 600
    border = np.arange(rows, dtype=np.uint64) % np.uint64(4) * np.uint64(2 * MIB) + np.uint64(2 * MIB - 8)
    small_trace(
        tmp_path / "g.parquet",
        rows=rows,
        memory=8 * MIB,
        gpa=border,
        size=np.full(rows, 64, np.uint8),
        count=np.full(rows, 3, np.uint32),
    )
    options = Options(policy=Policy.HARVEST, every=Every(100, timed=False), intervals=3, page_accesses=True)
    check_alike(open_trace(tmp_path / "g.parquet"), PROFILES, options, 3)


def test_bad_rows_are_skipped_and_counted_once(tmp_path: Path) -> None:
    op = (np.arange(3000) % 3).astype(np.uint8)
    op[1234] = 9
    small_trace(tmp_path / "g.parquet", op=op)
    trace = open_trace(tmp_path / "g.parquet")
    profiles = [resolve("ept-ad")]
    with pytest.raises(TraceError, match="op"):
        replay_in_shares(trace, profiles, Options(), 2)
    skip = Options(on_bad_rows="skip")
    found = told(replay_in_shares(trace, profiles, skip, 2), ("ept-ad",))
    assert found == told(replay_trace(trace, profiles, skip), ("ept-ad",))
    assert found["summary.rows"] == [2999]


def test_an_interrupt_ends_all_shares(tmp_path: Path) -> None:
    def on_rows(rows: int) -> None:
        del rows
        raise CancelledError

    trace = open_trace(small_trace(tmp_path / "g.parquet"))
    with pytest.raises(CancelledError):
        replay_in_shares(trace, [resolve("ept-ad")], Options(), 3, on_rows=on_rows)


def test_a_run_on_more_threads_than_guests_writes_the_same_bytes(tmp_path: Path) -> None:
    write_synthetic(
        tmp_path / "g.parquet", Synthetic(rows=30_000, memory_bytes=8 * MIB, distribution="zipf", vcpus=2)
    )
    for threads in (1, 3):
        answer = eptreplay(
            *("replay", tmp_path / "g.parquet", "-p", "ept-ad", "-p", "nehalem", "--policy", "age"),
            *("--every", "5000", "--jobs", threads, "--out", tmp_path / f"on{threads}"),
        )
        assert answer.code == 0, answer.err
    one, three = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "on1", tmp_path / "on3")
    )
    assert {path for path in one if three[path] != one[path]} == set()


@pytest.mark.parametrize(
    ("rows", "profiles", "large"),
    [(4096, 1, False), (4095, 1, True), (8191, 2, True), (8192, 2, False), (1024, 1, True), (1023, 1, False)],
)
def test_a_guest_is_large_by_its_pages_and_profiles_against_its_rows(
    tmp_path: Path, rows: int, profiles: int, large: bool
) -> None:
    trace = open_trace(small_trace(tmp_path / "g.parquet", rows=rows))  # 1024 pages
    assert is_large(trace, [resolve(name) for name in PROFILES[:profiles]]) == large


# ---- where it cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "options", "why"),
    [
        ("ept-ad", Options(host=HostOptions()), "memory of their host"),
        ("ept-ad", Options(tlb=TlbOptions()), "--tlb"),
        ("skylake-sp", Options(), "page modifications"),
    ],
)
def test_what_depends_on_all_memory_is_replayed_whole_and_the_reason_told(
    tmp_path: Path, profile: str, options: Options, why: str
) -> None:
    small_trace(tmp_path / "g.parquet")
    trace = open_trace(tmp_path / "g.parquet")
    assert why in why_whole(trace, [resolve("ept-ad"), resolve(profile)], options)


def test_a_trace_with_events_is_replayed_whole(tmp_path: Path) -> None:
    op = np.zeros(3000, np.uint8)
    op[100] = 41
    small_trace(tmp_path / "g.parquet", op=op)
    assert "events" in why_whole(open_trace(tmp_path / "g.parquet"), [resolve("ept-ad")], Options())


def test_the_command_says_why_threads_are_left_over(tmp_path: Path) -> None:
    small_trace(tmp_path / "g.parquet")
    for options, told_why in (((), False), (("--tlb",), True)):
        answer = eptreplay(
            *("replay", tmp_path / "g.parquet", "-p", "ept-ad", "--jobs", 4, *options),
            *("--out", tmp_path / "run", "--overwrite"),
        )
        assert answer.code == 0
        assert ("g is replayed on one thread: " in answer.err) == told_why


# ---- shares and their rows ------------------------------------------------------------------------


@given(st.integers(1, 1 << 24), st.integers(1, 16))
def test_every_region_has_one_owner_and_shares_are_about_equal(pages: int, shares: int) -> None:
    owner = region_owners(pages, shares)
    assert len(owner) == -(-pages // 512) + 1
    assert owner.max() < shares
    if len(owner) >= 64 * shares:
        sizes = np.bincount(owner, minlength=shares)
        assert sizes.min() * 1.25 > sizes.max()


def test_a_row_goes_to_the_owner_of_its_region_and_one_across_a_border_to_both() -> None:
    owner = np.array([0, 1, 0, 1], np.uint8)
    gpa = np.array([8, 2 * MIB, 2 * MIB - 4, 2 * MIB - 5000, 99 * MIB], np.uint64)
    size = np.array([4, 4, 8, 4096, 1], np.uint16)
    columns: dict[str, Any] = {
        "gpa": gpa,
        "op": np.array([0, 1, 2, 0, 1], np.uint8),
        "vcpu": np.array([5, 6, 7, 8, 9], np.uint16),
        "size": size,
        "count": np.array([1, 2, 3, 4, 5], np.uint32),
    }
    rows = rows_of(**columns)
    found = {}
    for share in (0, 1):
        own: dict[str, Any] = {name: np.zeros(5, column.dtype) for name, column in columns.items()}
        row = np.zeros(5, np.int64)
        number = take_rows(owner, share, rows, 0, 5, 100, rows_of(**own, row=row))
        found[share] = [tuple(int(of[at]) for of in (row, *own.values())) for at in range(number)]
    border = 2 * MIB
    assert found[0] == [
        (100, 8, 0, 5, 4, 1),
        (102, border - 4, 2, 7, 1, 3),
        (103, border - 5000, 0, 8, 4096, 4),
    ]
    assert found[1] == [
        (101, border, 1, 6, 4, 2),
        (~102, border, 2, 7, 1, 1),  # the second part alone
        (104, 99 * MIB, 1, 9, 1, 5),
    ]
