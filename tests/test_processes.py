"""Hosts replayed by processes: the same run as by threads, and one that kills its process costs itself alone."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.run.failures import Failure, ToldError, failure_told, tell, write_details
from eptreplay.run.unfinished.manifest import MANIFEST_FILE
from eptreplay.tables.files import read_run_file

if TYPE_CHECKING:
    from pathlib import Path

KILLING = """
import os, signal
from eptreplay.replay.shares import replay as shares

replay_trace = shares.replay_trace

def killing(trace, *arguments, **options):
    if trace.name.startswith("kills"):
        os.kill(os.getpid(), getattr(signal, os.environ["KILLED_BY"]))
    if trace.name.startswith("once") and not os.path.exists(os.environ["ONCE"]):
        open(os.environ["ONCE"], "x").close()
        os.kill(os.getpid(), signal.SIGSEGV)
    return replay_trace(trace, *arguments, **options)

shares.replay_trace = killing
"""
"""Taken in by every new Python before anything else: guests of some names kill the process that replays them."""


def content(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if name not in (MANIFEST_FILE, "files.json")
    }


@pytest.fixture
def killing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(KILLING)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("ONCE", str(tmp_path / "once"))


@pytest.mark.parametrize("host", [(), ("--host-memory", "64M")], ids=["own", "shared"])
def test_processes_write_what_threads_write(tmp_path: Path, host: tuple[str, ...]) -> None:
    (tmp_path / "traces").mkdir()
    for number in range(3):
        small_trace(tmp_path / f"traces/{number}.parquet", rows=100 + number)
    if not host:
        (tmp_path / "traces/bad.parquet").write_bytes(b"PAR1 and no more")
        small_trace(tmp_path / "traces/late.parquet", rows=10, op=np.full(10, 77, np.uint8), statistics=False)
    for name, workers in (("threads", 0), ("processes", 2)):
        answer = eptreplay(
            *(
                "replay",
                tmp_path / "traces",
                "-p",
                "x86",
                *host,
                "--out",
                tmp_path / name,
                "--workers",
                workers,
            )
        )
        assert answer.code == (0 if host else 3), answer.err
    assert content(tmp_path / "threads") == content(tmp_path / "processes")


@pytest.mark.usefixtures("killing")
@pytest.mark.parametrize("by", ["SIGKILL", "SIGSEGV"])
def test_a_guest_that_kills_its_process_twice_is_named_with_the_cause_and_the_others_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setenv("KILLED_BY", by)
    (tmp_path / "traces").mkdir()
    for name in ("a", "kills", "once", "z"):
        small_trace(tmp_path / f"traces/{name}.parquet", rows=100)
    answer = eptreplay(
        *("replay", tmp_path / "traces", "-p", "x86", "--out", tmp_path / "run", "--workers", "2")
    )
    assert answer.code == 3
    (line,) = [line for line in answer.err.splitlines() if "failed" in line]
    assert f"guest 'kills' failed: its process died twice ({by}" in line
    assert ("memory runs out" in line) == (by == "SIGKILL")
    assert (tmp_path / "once").exists()
    run = read_run_file(tmp_path / "run")
    assert [guest["name"] for guest in run["guests"]] == ["a", "once", "z"]
    assert [failure["guest"] for failure in run["failed"]] == ["kills"]


@pytest.mark.parametrize(
    "error",
    [ToldError("x.parquet: is damaged"), MemoryError("2 TiB"), OSError(5, "I/O"), ZeroDivisionError("by 0")],
)
def test_a_failure_that_is_told_has_the_same_message_and_details(tmp_path: Path, error: Exception) -> None:
    failure = Failure("guest", error, 2, "failures/x.txt")
    again = failure_told(tell(failure))
    assert Failure(again.guest, again.error, again.host, "failures/x.txt").message() == failure.message()
    assert again.is_our_fault == failure.is_our_fault
    for name, each in (("one", failure), ("two", again)):
        write_details(tmp_path, name, each.error)
    if failure.is_our_fault:
        assert (tmp_path / "failures/one").read_text() == (tmp_path / "failures/two").read_text()


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    small_trace(tmp_path / "a.parquet", rows=100)
    assert (
        eptreplay(
            "replay", tmp_path / "a.parquet", "-p", "x86", "--out", tmp_path / "run", "--workers", 1
        ).code
        == 0
    )
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # none is left
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
