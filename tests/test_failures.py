"""Whatever a guest raises costs that guest, or its host, and no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.errors import Exit, NoGuestError, TraceError, UsageError
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.profiles import resolve
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.shares.replay import replay_guest
from eptreplay.request.host import HostOptions
from eptreplay.request.options import Options
from eptreplay.results.tables import tables
from eptreplay.run import batch, units
from eptreplay.run.failures import Failure
from eptreplay.run.unfinished.folder import find
from eptreplay.tables.schema import REPLAYED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace

PROFILES = [resolve("ept-ad")]
FAULTS = [
    TraceError("b.parquet", "is damaged"),
    UsageError("its layout does not fit"),
    OverflowError("int too big to convert"),
    MemoryError("Unable to allocate 2 TiB"),
    pa.ArrowInvalid("out of range"),
    pl.exceptions.ComputeError("no such thing"),
    OSError(5, "Input/output error"),
    ZeroDivisionError("division by zero"),
    AssertionError(),
]
by_type = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)


def three(folder: Path) -> tuple[GuestTrace, ...]:
    folder.mkdir()
    for name in "abc":
        small_trace(folder / f"{name}.parquet", rows=300)
    return find_traces([str(folder)])


def guests_in_tables(run: Path) -> dict[str, set[str]]:
    """Return the guests that each table has rows of."""
    return {
        table.name: set(pl.read_parquet(run / "tables" / f"{table.name}.parquet")["guest"])
        for table in REPLAYED
    }


def break_replay(patch: pytest.MonkeyPatch, fault: BaseException) -> None:
    def replay(trace: GuestTrace, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as they come
        if trace.name == "b":
            raise fault
        return replay_guest(trace, *arguments, **options)

    patch.setattr(units, "replay_guest", replay)


def break_rows(patch: pytest.MonkeyPatch, fault: BaseException) -> None:
    def rows(result: Any, *arguments: Any) -> object:  # noqa: ANN401 - as they come
        if result.trace.name == "b":
            raise fault
        return tables(result, *arguments)

    patch.setattr(units, "tables", rows)


@by_type
@pytest.mark.parametrize("where", [break_replay, break_rows])
def test_whatever_a_guest_raises_costs_that_guest_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: Callable[[pytest.MonkeyPatch, BaseException], None],
    fault: Exception,
) -> None:
    where(monkeypatch, fault)
    result = batch.run(
        units.Replays(three(tmp_path / "traces"), PROFILES, Options()),
        tmp_path / "run",
        units.Execution(guests=2),
    )
    assert result.guests == ("a", "c")
    assert [(failure.guest, failure.error) for failure in result.failures] == [("b", fault)]
    found = guests_in_tables(tmp_path / "run")
    assert found["summary"] == {"a", "c"}
    assert all("b" not in guests for guests in found.values())
    (failed,) = json.loads((tmp_path / "run" / "run.json").read_text())["failed"]
    assert failed == {"guest": "b", "error": result.failures[0].message()}


@pytest.mark.parametrize("table", ["summary", "intervals", "pages", "migrations"])
def test_a_row_that_does_not_fit_its_table_leaves_none_of_its_guest_in_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    def rows(result: Any, *arguments: Any) -> object:  # noqa: ANN401 - as they come
        found = tables(result, *arguments)
        if result.trace.name == "b":
            name = next(column.name for column in batch_table(table).columns if column.type == "int64")
            found[table] = found[table] | {name: [1 << 63] * len(found[table]["guest"])}
        return found

    monkeypatch.setattr(units, "tables", rows)
    result = batch.run(units.Replays(three(tmp_path / "traces"), PROFILES, Options()), tmp_path / "run")
    assert [type(failure.error) for failure in result.failures] == [OverflowError]
    assert all("b" not in guests for guests in guests_in_tables(tmp_path / "run").values())


def batch_table(name: str) -> Any:  # noqa: ANN401 - a table
    return next(table for table in REPLAYED if table.name == name)


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", [break_replay, break_rows])
def test_what_is_to_end_the_run_does_and_keeps_what_is_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: Callable[[pytest.MonkeyPatch, BaseException], None],
    end: type[BaseException],
) -> None:
    where(monkeypatch, end())
    with pytest.raises(end):
        batch.run(units.Replays(three(tmp_path / "traces"), PROFILES, Options()), tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.eptreplay-unfinished", "traces"]
    work = find(tmp_path / "run")
    assert work is not None
    assert work.done() == [0]


def test_a_fault_of_ours_is_named_as_such_with_what_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three(tmp_path / "traces")
    break_rows(monkeypatch, ZeroDivisionError("division\nby zero"))
    answer = eptreplay("replay", tmp_path / "traces", "-p", "ept-ad", "--out", tmp_path / "run")
    assert answer.code == Exit.SOME_FAILED
    (line,) = [line for line in answer.err.splitlines() if "guest 'b'" in line]
    assert "a fault of eptreplay itself: ZeroDivisionError: division by zero; please report it with" in line
    (details,) = (tmp_path / "run" / "failures").iterdir()
    assert f"failures/{details.name}" in line
    assert details.read_text().startswith("Traceback (most recent call last):")
    assert "ZeroDivisionError" in details.read_text()


def test_a_guest_that_failed_does_not_keep_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replay(trace: GuestTrace, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as they come
        held = np.zeros(8)
        if trace.name == "b":
            raise ValueError(str(held[0]))
        return replay_guest(trace, *arguments, **options)

    monkeypatch.setattr(units, "replay_guest", replay)
    (failure,) = batch.run(
        units.Replays(three(tmp_path / "traces"), PROFILES, Options()), tmp_path / "run"
    ).failures
    at = failure.error.__traceback__
    names = []
    while at is not None:
        names.append(at.tb_frame.f_code.co_name)
        assert "held" not in at.tb_frame.f_locals
        at = at.tb_next
    assert names[-1] == "replay"


def damaged(folder: Path, name: str) -> None:
    (folder / f"{name}.parquet").write_bytes(b"PAR1, but no more")


def test_of_several_bad_traces_all_are_named(tmp_path: Path) -> None:
    three(tmp_path / "traces")
    damaged(tmp_path / "traces", "d")
    late = np.arange(300, dtype=np.uint64) + np.uint64(1 << 63)
    small_trace(tmp_path / "traces" / "e.parquet", rows=300, time=late)
    replayed = eptreplay("replay", tmp_path / "traces", "-p", "ept-ad", "--out", tmp_path / "run")
    checked = eptreplay("check", tmp_path / "traces")
    assert (replayed.code, checked.code) == (Exit.SOME_FAILED, Exit.BAD_INPUT)
    for answer in (replayed, checked):
        assert sum("d.parquet" in line for line in answer.err.splitlines()) == 1
        assert sum("e.parquet" in line for line in answer.err.splitlines()) == 1


@pytest.mark.parametrize("command", [("replay", "-p", "ept-ad"), ("check",)])
def test_when_no_guest_is_left_all_are_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "traces").mkdir()
    damaged(tmp_path / "traces", "a")
    damaged(tmp_path / "traces", "b")
    out = ("--out", tmp_path / "run") if command[0] == "replay" else ()
    answer = eptreplay(command[0], tmp_path / "traces", *command[1:], *out)
    assert answer.code == Exit.BAD_INPUT
    assert "a.parquet" in answer.err
    assert "b.parquet" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["traces"]


def test_when_no_guest_could_be_replayed_all_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replay(trace: GuestTrace, *_: object, **__: object) -> object:
        raise ValueError(trace.name)

    monkeypatch.setattr(units, "replay_guest", replay)
    with pytest.raises(NoGuestError) as caught:
        batch.run(units.Replays(three(tmp_path / "traces"), PROFILES, Options()), tmp_path / "run")
    for name in "abc":
        assert f"guest '{name}' failed: a fault of eptreplay itself: ValueError: {name}" in str(caught.value)


@by_type
def test_on_a_shared_host_whatever_the_rows_of_one_raise_costs_the_host_and_names_the_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    break_rows(monkeypatch, fault)
    options = Options(host=HostOptions())
    with pytest.raises(NoGuestError, match=r"guest 'b' failed: .*; it shares a host with 2 more"):
        batch.run(units.Replays(three(tmp_path / "traces"), PROFILES, options), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["traces"]


def bad_row(folder: Path) -> None:
    small_trace(folder / "b.parquet", rows=300, op=np.full(300, 99, np.uint8))


def late_times(folder: Path) -> None:
    late = np.arange(300, dtype=np.uint64) + np.uint64(1 << 63)
    small_trace(folder / "b.parquet", rows=300, time=late)


def not_to_be_opened(folder: Path) -> None:
    damaged(folder, "b")


@pytest.mark.parametrize("spoil", [bad_row, late_times, not_to_be_opened])
def test_on_a_shared_host_a_bad_trace_costs_the_host_and_is_named(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    three(tmp_path / "traces")
    spoil(tmp_path / "traces")
    answer = eptreplay(
        "replay", tmp_path / "traces", "-p", "ept-ad", "--host-memory", "64M", "--out", tmp_path / "run"
    )
    assert answer.code == Exit.BAD_INPUT
    assert "guest 'b' failed" in answer.err
    assert "it shares a host with 2 more" in answer.err
    assert "Traceback" not in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["traces"]


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("time", [1 << 63, (1 << 64) - 1])
def test_a_time_that_no_table_has_room_for_is_refused_with_its_row(
    tmp_path: Path, time: int, *, statistics: bool
) -> None:
    times = np.arange(300, dtype=np.uint64)
    times[-1] = time
    path = small_trace(tmp_path / "g.parquet", rows=300, time=times, statistics=statistics)
    (trace,) = find_traces([str(path)])
    with pytest.raises(
        TraceError, match=f"row 299, column 'time': the time is {time}; expected .*2\\^63 - 1"
    ):
        replay_trace(trace, PROFILES, Options())


def test_the_latest_time_that_tables_have_room_for_is_good(tmp_path: Path) -> None:
    times = np.arange(300, dtype=np.uint64) + np.uint64((1 << 63) - 300)
    small_trace(tmp_path / "g.parquet", rows=300, time=times)
    assert eptreplay("replay", tmp_path / "g.parquet", "-p", "ept-ad", "--out", tmp_path / "run").code == 0
    summary = pl.read_parquet(tmp_path / "run" / "tables" / "summary.parquet")
    assert summary["last_time"][0] == (1 << 63) - 1


def test_rows_with_such_times_can_be_left_out(tmp_path: Path) -> None:
    times = np.arange(300, dtype=np.uint64)
    times[150] = 1 << 63
    small_trace(tmp_path / "g.parquet", rows=300, time=times)
    answer = eptreplay(
        "replay", tmp_path / "g.parquet", "-p", "ept-ad", "--on-bad-rows", "skip", "--out", tmp_path / "run"
    )
    assert answer.code == 0
    assert "rows left out: 1 late" in answer.err
    assert pl.read_parquet(tmp_path / "run" / "tables" / "summary.parquet")["rows"][0] == 299


@by_type
def test_an_error_is_told_in_one_line_and_says_whose_it_is(fault: Exception) -> None:
    failure = Failure("b", fault)
    assert "\n" not in failure.message()
    ours = not isinstance(fault, (TraceError, UsageError, MemoryError, OSError))
    assert failure.is_our_fault == ours
    assert failure.message().startswith("a fault of eptreplay itself") == ours
