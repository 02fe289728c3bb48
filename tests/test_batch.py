"""A run: guests side by side, and a folder of results that is there whole or not at all."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.errors import Exit, NoGuestError, OutputError, TraceError
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.profiles import resolve
from eptreplay.replay.shares.replay import replay_guest
from eptreplay.report.pages import text as pages
from eptreplay.request.options import Options
from eptreplay.run import batch, units
from eptreplay.run.output import check_output

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace

PROFILES = [resolve("ept-ad")]


def guests(folder: Path, count: int) -> tuple[GuestTrace, ...]:
    folder.mkdir()
    for number in range(count):
        small_trace(folder / f"guest{number:02}.parquet", rows=100)
    return find_traces([str(folder)])


def test_guests_are_replayed_in_the_order_they_were_given(tmp_path: Path) -> None:
    traces = guests(tmp_path / "traces", 7)[::-1]
    result = batch.run(
        units.Replays(traces, PROFILES, Options()), tmp_path / "run", units.Execution(guests=3)
    )
    assert result.guests == tuple(f"guest{number:02}" for number in range(6, -1, -1))
    assert result.failures == ()


def test_all_rows_reach_the_callback(tmp_path: Path) -> None:
    heard: list[int] = []
    batch.run(
        units.Replays(guests(tmp_path / "traces", 3), PROFILES, Options()),
        tmp_path / "run",
        units.Execution(guests=2, on_rows=heard.append),
    )
    assert sum(heard) == 300


def test_no_more_guests_are_begun_than_can_be_needed_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def replay(trace: GuestTrace, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as they come
        begun.append(trace.name)
        return replay_guest(trace, *arguments, **options)

    monkeypatch.setattr(units, "replay_guest", replay)
    seen = units.side_by_side(
        units.Replays(guests(tmp_path / "traces", 9), PROFILES, Options()), units.Execution(guests=2)
    )
    next(seen).results.result()
    assert len(begun) <= 4
    assert len([*seen]) == 8


def test_an_interrupt_ends_the_guests_that_are_being_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = threading.Event()
    ended = threading.Event()

    def replay(trace: GuestTrace, *_: object, on_rows: Callable[[int], None], **options: object) -> object:
        del options
        if trace.name == "guest00":
            running.wait(timeout=60)
            raise KeyboardInterrupt
        running.set()
        try:
            while not ended.wait(timeout=0.01):
                on_rows(1)
        except CancelledError:
            ended.set()
            raise
        return None

    monkeypatch.setattr(units, "replay_guest", replay)
    with pytest.raises(KeyboardInterrupt):
        batch.run(
            units.Replays(guests(tmp_path / "traces", 2), PROFILES, Options()),
            tmp_path / "run",
            units.Execution(guests=2),
        )
    assert ended.is_set()
    assert [path.name for path in tmp_path.iterdir()] == ["traces"]


def test_when_no_guest_can_be_replayed_every_error_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replay(trace: GuestTrace, *_: object, **__: object) -> object:
        raise TraceError(trace.name, "is damaged")

    monkeypatch.setattr(units, "replay_guest", replay)
    with pytest.raises(NoGuestError, match=r"(?s)guest00: is damaged.*guest01: is damaged"):
        batch.run(units.Replays(guests(tmp_path / "traces", 2), PROFILES, Options()), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["traces"]


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        check_output(tmp_path / "file", overwrite=False)
    with pytest.raises(OutputError, match="--out"):
        batch.run(
            units.Replays(guests(tmp_path / "traces", 1), PROFILES, Options()), tmp_path / "file" / "run"
        )


@pytest.mark.parametrize(
    "fault", [OSError(28, "No space left on device"), ZeroDivisionError("division by zero")]
)
def test_tables_outlive_a_fault_in_rendering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    assert eptreplay("replay", trace, "--out", tmp_path / "good").code == 0

    def guest_page(*_: object) -> object:
        raise fault

    with monkeypatch.context() as broken:
        broken.setattr(pages, "guest_page", guest_page)
        answer = eptreplay("replay", trace, "--out", tmp_path / "run")
    assert answer.code == Exit.SOME_FAILED
    assert (
        f"the tables are complete, but no pages could be made of them ({type(fault).__name__}" in answer.err
    )
    assert f"eptreplay report {tmp_path / 'run'}" in answer.err
    assert "tables in" in answer.out
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "files.json",
        "manifest.jsonl",
        "run.json",
        "tables",
    ]
    assert eptreplay("report", tmp_path / "run").code == 0
    good, again = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "good", tmp_path / "run")
    )
    assert again == good
