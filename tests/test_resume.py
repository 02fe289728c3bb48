"""Runs that are interrupted: what is done lasts, and a resumed run ends as one that was never disturbed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.replay.shares.replay import replay_guest
from eptreplay.run import batch, units
from eptreplay.run.unfinished.durable import append_lines, whole_file
from eptreplay.run.unfinished.folder import find
from eptreplay.run.unfinished.manifest import MANIFEST_FILE, lines
from eptreplay.run.unfinished.part import write_part
from eptreplay.tables.files import TableWriter, read_run_file

if TYPE_CHECKING:
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace

OPTIONS = ("-p", "x86", "-j", "1")
OF_ONE_RUN = {MANIFEST_FILE, "files.json"}
"""Files that say how often a run was interrupted."""


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    (tmp_path / "traces").mkdir()
    for number, name in enumerate("abcd"):
        small_trace(tmp_path / f"traces/{name}.parquet", rows=300 + number)
    return tmp_path / "traces"


def content(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in OF_ONE_RUN}


def interrupt_at(patch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    """Let the replay of one guest raise what ends the run."""

    def replay(trace: GuestTrace, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as they come
        if trace.name == name:
            raise error
        return replay_guest(trace, *arguments, **options)

    patch.setattr(units, "replay_guest", replay)


def interrupted(traces: Path, out: Path, at: str = "c") -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, at, SystemExit(77))
        assert eptreplay("replay", traces, *OPTIONS, "--out", out).code == 77


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "traces")


def test_a_resumed_run_ends_as_one_that_was_not_disturbed_and_replays_nothing_twice(
    traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "whole").code == 0
    interrupted(traces, tmp_path / "run")
    replayed: list[str] = []

    def replay(trace: GuestTrace, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as they come
        replayed.append(trace.name)
        return replay_guest(trace, *arguments, **options)

    monkeypatch.setattr(units, "replay_guest", replay)
    answer = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume")
    assert answer.code == 0
    assert replayed == ["c", "d"]
    assert "4 guests replayed" in answer.out
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    assert names(tmp_path) == ["run", "whole"]
    again = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume")
    assert again == (0, f"{tmp_path / 'run'} is complete; nothing is left to do\n", "")
    assert replayed == ["c", "d"]


def test_what_is_done_is_not_lost_without_a_command(traces: Path, tmp_path: Path) -> None:
    interrupted(traces, tmp_path / "run")
    answer = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--overwrite")
    assert answer.code == 2
    assert (
        "an unfinished run into it is there (2 of 4 guests are done); to go on: eptreplay replay"
        in answer.err
    )
    assert f"--out {tmp_path / 'run'} --resume; to clear it: eptreplay clean {tmp_path / 'run'}" in answer.err
    assert names(tmp_path) == [".run.eptreplay-unfinished"]
    cleaned = eptreplay("clean", tmp_path / "run")
    assert cleaned.code == 0
    assert "2 of 4 guests are done" in cleaned.out
    assert names(tmp_path) == []
    assert "nothing was left" in eptreplay("clean", tmp_path / "run").out


def test_clean_keeps_what_no_run_wrote_and_finished_runs(traces: Path, tmp_path: Path) -> None:
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run").code == 0
    before = content(tmp_path / "run")
    interrupted_options = (*OPTIONS, "--out", tmp_path / "run", "--overwrite")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, "b", SystemExit(77))
        assert eptreplay("replay", traces, *interrupted_options).code == 77
    (tmp_path / ".run.eptreplay-unfinished/thesis.txt").write_text("all of it")
    answer = eptreplay("clean", tmp_path / "run")
    assert answer.code == 3
    assert "1 file (thesis.txt) were not written by a run and are kept" in answer.out
    assert names(tmp_path / ".run.eptreplay-unfinished") == ["thesis.txt"]
    assert content(tmp_path / "run") == before


def test_an_older_run_stands_until_the_resumed_one_takes_its_place(traces: Path, tmp_path: Path) -> None:
    assert eptreplay("replay", traces, "-p", "haswell", "--out", tmp_path / "run").code == 0
    before = content(tmp_path / "run")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at(patch, "c", SystemExit(77))
        eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--overwrite")
    assert content(tmp_path / "run") == before
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume").code == 2
    resumed = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume", "--overwrite")
    assert resumed.code == 0
    assert [profile["name"] for profile in read_run_file(tmp_path / "run")["profiles"]] == ["x86"]
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-p", "haswell"), "another profiles (x86, now haswell)"),
        (("-p", "x86", "--intervals", "7"), "another options (intervals: 256, now 7)"),
        (("-p", "x86", "--host-memory", "64M"), "another host"),
        (("-p", "x86", "--guest", "[ab]"), "has guest 'c', whose trace is no longer there"),
    ],
)
def test_a_run_is_resumed_only_as_it_was_begun(
    traces: Path, tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    interrupted(traces, tmp_path / "run")
    answer = eptreplay("replay", traces, *options, "--out", tmp_path / "run", "--resume")
    assert answer.code == 2
    assert why in answer.err
    assert "eptreplay clean" in answer.err
    assert answer.err.count("\n") == 1
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume").code == 0


def test_input_that_changed_since_it_was_replayed_is_named(traces: Path, tmp_path: Path) -> None:
    interrupted(traces, tmp_path / "run")
    path = traces / "a.parquet"
    times = path.stat()
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 10))
    answer = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume")
    assert answer.code == 2
    assert f"{path}: has changed since guest 'a' was replayed from it" in answer.err
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    small_trace(traces / "d.parquet", rows=40)  # was not replayed, so it may change
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume").code == 0


def test_input_that_vanished_is_named_and_the_run_goes_on_when_it_is_back(
    traces: Path, tmp_path: Path
) -> None:
    interrupted(traces, tmp_path / "run")
    (traces / "b.parquet").rename(tmp_path / "traces/b.away")
    answer = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume")
    assert answer.code == 2
    assert "has guest 'b', whose trace is no longer there or cannot be opened" in answer.err
    (tmp_path / "traces/b.away").rename(traces / "b.parquet")
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume").code == 0


def test_a_trace_that_is_written_while_it_is_read_fails_and_is_named(
    traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replay(trace: GuestTrace, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as they come
        found = replay_guest(trace, *arguments, **options)
        if trace.name == "b":
            os.utime(str(trace.files[0]), ns=(0, 0))
        return found

    monkeypatch.setattr(units, "replay_guest", replay)
    answer = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run")
    assert answer.code == 3
    assert f"guest 'b' failed: {traces / 'b.parquet'}: was changed while it was read" in answer.err
    assert [guest["name"] for guest in read_run_file(tmp_path / "run")["guests"]] == ["a", "c", "d"]


def test_a_damaged_part_is_told_and_its_guest_can_be_replayed_again(traces: Path, tmp_path: Path) -> None:
    interrupted(traces, tmp_path / "run")
    part = tmp_path / ".run.eptreplay-unfinished/parts/000000.zip"
    data = bytearray(part.read_bytes())
    data[200] ^= 1
    part.write_bytes(data)
    answer = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume")
    assert answer.code == 2
    assert f"{part}: cannot be read" in answer.err
    part.unlink()
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume").code == 0


def test_a_failed_guest_is_replayed_again_when_the_run_is_resumed(traces: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def replay(trace: GuestTrace, *arguments: Any, **options: Any) -> object:  # noqa: ANN401 - as they come
            if trace.name in "bd":
                raise {"b": OSError(5, "Input/output error"), "d": SystemExit(77)}[trace.name]
            return replay_guest(trace, *arguments, **options)

        patch.setattr(units, "replay_guest", replay)
        assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run").code == 77
    work = find(tmp_path / "run")
    assert work is not None
    failed = [line for line in lines(work.folder) if line["kind"] == "failed"]
    assert [line["guest"] for line in failed] == ["b"]
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume").code == 0
    assert [guest["name"] for guest in read_run_file(tmp_path / "run")["guests"]] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("where", ["part", "table", "end"])
def test_a_full_disk_ends_the_run_and_what_is_done_goes_on_when_there_is_room(
    traces: Path, tmp_path: Path, where: str
) -> None:
    full = OSError(28, "No space left on device")
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> None:
            raise full

        def part(path: Path, *arguments: Any) -> None:  # noqa: ANN401 - as they come
            if path.name == "000002.zip":
                raise full
            write_part(path, *arguments)

        if where == "part":
            patch.setattr(batch, "write_part", part)
        elif where == "table":
            patch.setattr(TableWriter, "_write_out", refuse)
        else:
            patch.setattr("eptreplay.run.resumable.sync_all", refuse)
        answer = eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run")
    assert answer.code == 2
    done = 2 if where == "part" else 4
    assert (
        f"was not finished (No space left on device); {done} of 4 guests are done and kept; to go on:"
        in answer.err
    )
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run", "--resume").code == 0
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "whole").code == 0
    assert content(tmp_path / "run") == content(tmp_path / "whole")
    assert names(tmp_path) == ["run", "whole"]


def test_the_manifest_says_what_was_read_how_and_what_became_of_it(traces: Path, tmp_path: Path) -> None:
    assert eptreplay("replay", traces, *OPTIONS, "--out", tmp_path / "run").code == 0
    first, *rest = lines(tmp_path / "run")
    assert first["units"] == [["a"], ["b"], ["c"], ["d"]]
    assert first["configuration"]["options"]["policy"] == "plain"
    assert {"numpy", "numba", "pyarrow", "polars"} <= set(first["libraries"])
    inputs = [line for line in rest if line["kind"] == "input"]
    assert [line["rows"] for line in inputs] == [300, 301, 302, 303]
    (file,) = inputs[0]["files"]
    assert file["bytes"] == (traces / "a.parquet").stat().st_size
    assert file["modified_ns"] == (traces / "a.parquet").stat().st_mtime_ns
    assert len(file["footer_sha256"]) == 64
    assert [line["guests"] for line in rest if line["kind"] == "done"] == [["a"], ["b"], ["c"], ["d"]]


def test_a_torn_line_of_the_manifest_is_none_and_the_next_is_whole(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST_FILE
    append_lines(path, [b'{"kind":"run"}'])
    with path.open("ab") as file:
        file.write(b'{"kind":"do')
    append_lines(path, [b'{"kind":"resumed"}'])
    assert [line["kind"] for line in lines(tmp_path)] == ["run", "resumed"]
    assert json.loads(path.read_bytes().splitlines()[0]) == {"kind": "run"}


def test_a_file_that_is_not_whole_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(TypeError), whole_file(tmp_path / "file") as file:
        file.writelines([b"new", None])  # type: ignore[list-item] # what cannot be written
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
