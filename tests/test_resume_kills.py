"""Runs that are killed with SIGKILL and resumed: tables and pages are those of an undisturbed run, and nothing else is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.run.unfinished.folder import find
from eptreplay.run.unfinished.manifest import MANIFEST_FILE, lines

if TYPE_CHECKING:
    from pathlib import Path

# Replays into one folder after the other and is killed at each of its calls of the system in turn, then at another while it resumes;
# prints how often it was.
KILLER = """
import os, signal, sys
from pathlib import Path
from eptreplay.ingest.sources.dataset import find_traces
from eptreplay.profiles import resolve
from eptreplay.replay.driver.warm_up import warm_up
from eptreplay.request.options import Options
from eptreplay.run import batch
from eptreplay.run.batch import Permission
from eptreplay.run.units import Execution, Replays

CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "open", "write")
left = 0

def counted(call):
    def one(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return one

def run(replays, out, number):
    child = os.fork()
    if child == 0:
        global left
        left = number
        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        batch.run(replays, out, Execution(checkpoint_every=100), Permission(resume=True))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status == 0

def main(traces, home, step):
    replays = Replays(find_traces([traces]), [resolve("x86")], Options(intervals=8, decode_ahead=False))
    warm_up()
    kills, number = 0, 0
    while not run(replays, home / str(number), number):
        kills += 1
        again = (number * 7919) % 200
        while not (home / str(number) / "run.json").exists() and not run(replays, home / str(number), again):
            kills += 1
            again = again * 2 + 50
        number += step
    print(kills)

main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
"""


def content(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if name not in (MANIFEST_FILE, "files.json")
    }


def four(folder: Path) -> Path:
    folder.mkdir()
    for number in range(4):
        small_trace(folder / f"{number}.parquet", rows=400 + number, row_group_size=100)
    return folder


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_step_and_resumed_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    traces = four(tmp_path / "traces")
    (tmp_path / "runs").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, str(traces), str(tmp_path / "runs"), "17"],
        env=os.environ | {"POLARS_MAX_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 25
    assert all(path.name.isdigit() for path in (tmp_path / "runs").iterdir())
    *runs, undisturbed = sorted((tmp_path / "runs").iterdir(), key=lambda path: int(path.name))
    whole = content(undisturbed)
    assert len(whole) >= 50
    for run in runs:
        assert content(run) == whole, run.name


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_runs_that_are_killed_at_random_times_go_on(tmp_path: Path, workers: int) -> None:
    traces = four(tmp_path / "traces")
    for number in range(4, 40):
        small_trace(traces / f"{number:02}.parquet", rows=4000, row_group_size=500)
    options = ("-p", "x86", "-p", "haswell", "--checkpoint-every", "1000", "--workers", str(workers))
    assert eptreplay("replay", traces, *options, "--out", tmp_path / "whole").code == 0
    whole = content(tmp_path / "whole")
    chance = random.Random(workers)  # noqa: S311 - not for secrets
    line = [sys.executable, "-m", "eptreplay", "replay", str(traces), *options, "--resume"]
    for number in range(4):
        out = tmp_path / f"run{number}"
        kills = 0
        while not out.exists():
            process = subprocess.Popen(
                [*line, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                process.wait(chance.uniform(1, 12) + kills)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
            _, said = process.communicate()
            assert b"Traceback" not in said
        assert content(out) == whole
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.slow
def test_a_kill_near_the_end_costs_one_guest_at_most(tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    traces.mkdir()
    for number in range(100):
        small_trace(traces / f"{number:02}.parquet", rows=200)
    out = tmp_path / "run"
    line = ["replay", str(traces), "-p", "x86", "-j", "1", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "eptreplay", *line], stderr=subprocess.DEVNULL)
    while process.poll() is None:
        work = find(out)
        if work is not None and len(work.done()) >= 95:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    work = find(out)
    assert work is not None
    done = len(work.done())
    assert done >= 95
    assert eptreplay(*line, "--resume").code == 0
    noted = [line["unit"] for line in lines(out) if line["kind"] == "done"]
    assert 100 - len(set(noted)) <= 1  # a part may be there whose line was not written
    assert len(noted) == len(set(noted))
