"""Runs that are killed at any step: one whole run is there or named, and nothing is lost that a run did not write."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.command_line import eptreplay
from tests.report.runs import MadeGuest, analysis, write_run

from eptreplay.run.leftovers import leftovers
from eptreplay.run.output import check_output, new_output
from eptreplay.run.pages import make_pages
from eptreplay.run.written import LIST_FILE, read_list, strangers
from eptreplay.tables.files import RUN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

# Does what it is told with folders that are copied from a pattern, and is killed at each of its calls of the system
# in turn; prints how often it was.
KILLER = """
import os, shutil, signal, sys
from pathlib import Path
from eptreplay.report.costs.costs import parse_assumptions
from eptreplay.run.output import new_output
from eptreplay.run.pages import make_pages

CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "open")
left = 0

def counted(call):
    def one(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return one

def replace(folder):
    with new_output(folder / "run", overwrite=True) as work:
        shutil.copytree(folder.parent / "new", work, dirs_exist_ok=True)

def report(folder):
    make_pages(folder / "run", parse_assumptions(["ipi_cycles=99999"]))

def main(what, home, step):
    global left
    number = 0
    while True:
        folder = home / str(number)
        shutil.copytree(home / "pattern", folder)
        child = os.fork()
        if child == 0:
            left = number
            for name in CALLS:
                setattr(os, name, counted(getattr(os, name)))
            what(folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        number += step
    print(number // step)

main({"replace": replace, "report": report}[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]))
"""


def kill_at_every_step(what: str, home: Path, step: int = 1) -> int:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, what, str(home), str(step)],
        env=os.environ | {"POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return int(done.stdout)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def killed(home: Path, kills: int, step: int = 1) -> Iterator[Path]:
    for number in range(0, kills * step, step):
        yield home / str(number)


def small_run(out: Path, text: str) -> None:
    with new_output(out, overwrite=False) as work:
        for name in (RUN_FILE, "index.html", "tables/summary.parquet", f"guests/{text}.html"):
            (work / name).parent.mkdir(exist_ok=True)
            (work / name).write_text(text)


def test_a_replace_that_is_killed_at_any_step_keeps_a_whole_run_and_names_it(tmp_path: Path) -> None:
    small_run(tmp_path / "pattern/run", "old")
    small_run(tmp_path / "made/run", "new")
    (tmp_path / "pattern/thesis.txt").write_text("all of it")
    (tmp_path / "made/run").rename(tmp_path / "new")
    (tmp_path / "new" / LIST_FILE).unlink()
    kills = kill_at_every_step("replace", tmp_path)
    assert kills >= 20
    old = content(tmp_path / "pattern/run")
    states = set()
    for folder in killed(tmp_path, kills):
        assert (folder / "thesis.txt").read_text() == "all of it"
        runs = {
            path.name: found[RUN_FILE]
            for path in folder.iterdir()
            if path.is_dir() and LIST_FILE in (found := content(path)) and len(found) == len(old)
        }
        told = leftovers(folder / "run")
        beside = [path for path in folder.iterdir() if path.name not in ("run", "thesis.txt")]
        assert sorted(str(path) for path in beside) == sorted(line.split(" ")[0] for line in told)
        if "run" in runs:
            states.add(runs["run"])
            assert runs["run"] == b"new" or content(folder / "run") == old
            check_output(folder / "run", overwrite=True)
        else:
            states.add(b"between")
            assert b"old" in runs.values()
    assert states == {b"old", b"between", b"new"}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    guest = MadeGuest("g")
    analysis(guest, ("haswell", "nehalem"))
    source = write_run(tmp_path / "made", [guest])
    with new_output(tmp_path / "pattern/run", overwrite=False) as work:
        shutil.copytree(source, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("costs.*"))
        make_pages(work)
    return tmp_path


@pytest.mark.slow
def test_pages_that_are_killed_at_any_step_can_be_made_again(made: Path) -> None:
    before = content(made / "pattern/run")
    kills = kill_at_every_step("report", made, 12)
    assert kills >= 20
    for folder in killed(made, kills, 12):
        run = folder / "run"
        listed = read_list(run)
        assert listed is not None
        stages = [path for path in run.iterdir() if path.name.startswith(".eptreplay-pages-")]
        assert len(stages) <= 1
        assert [line.split(" ")[0] for line in leftovers(run)] == [str(path) for path in stages]
        for stage in stages:
            shutil.rmtree(stage)
        assert strangers(run, listed) == []
        make_pages(run)
        assert content(run) == before


def replay(trace: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "eptreplay", "replay", str(trace), "-p", "x86", "--out", str(out), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_replays_that_are_killed_lose_nothing_and_the_next_names_what_is_left(tmp_path: Path) -> None:
    trace = ROOT / "traces/web-1vcpu.parquet"
    out = tmp_path / "run"
    first = replay(trace, out)
    assert first.communicate()[1] == ""
    assert first.returncode == 0
    before = content(out)
    for number in range(20):
        process = replay(trace, out, "--overwrite")
        try:
            process.wait(0.5 + 0.25 * number)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert "Traceback" not in said
        for path in tmp_path.iterdir():
            if path.name.startswith(".run.eptreplay-") and path.is_dir():
                assert str(path) in eptreplay("summary", out).err
                shutil.rmtree(path)
        assert content(out) == before


def _wait_for_work(folder: Path) -> None:
    for _ in range(600):
        if any(path.is_dir() for path in folder.glob(".run.eptreplay-*")):
            return
        time.sleep(0.05)
    raise AssertionError("the replay never began")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_cleans_up_and_says_what_was_not_written(tmp_path: Path, number: int, code: int) -> None:
    process = replay(ROOT / "traces/web-1vcpu.parquet", tmp_path / "run", "--mrc", "exact", "--slow-path")
    _wait_for_work(tmp_path)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    last = said.splitlines()[-1]
    assert last == (
        f"eptreplay: interrupted by {signal.Signals(number).name}; {tmp_path / 'run'} was not written; nothing of the run is left"
    )
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_second_of_two_replays_into_a_folder_is_refused_and_a_killed_first_is_not_in_its_way(
    tmp_path: Path,
) -> None:
    trace = ROOT / "traces/web-1vcpu.parquet"
    first = replay(trace, tmp_path / "run", "--mrc", "exact", "--slow-path")
    _wait_for_work(tmp_path)
    first.send_signal(signal.SIGSTOP)  # so that it is not done before the second begins
    second = replay(trace, tmp_path / "run")
    _, said = second.communicate(timeout=120)
    assert second.returncode == 2
    assert f"another eptreplay (process {first.pid}, since" in said
    first.send_signal(signal.SIGKILL)
    first.communicate()
    third = replay(trace, tmp_path / "run")
    _, said = third.communicate(timeout=300)
    assert third.returncode == 0
    assert "was left by a run that was killed before anything was done" in said
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# Says when the command's own modules begin to be loaded; what Python itself does before cannot be helped.
TELLING = """
import sys
from eptreplay.__main__ import start

class Tell:
    def find_spec(self, name, path, target=None):
        if name == "eptreplay.cli.app":
            print("on", flush=True)

sys.meta_path.insert(0, Tell())
sys.argv[1:] = ["replay", "none.parquet"]
start()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_starts_leaves_no_traceback(tmp_path: Path, number: int) -> None:
    codes = set()
    for delay in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", TELLING],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        time.sleep(0.08 * delay)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert "Traceback" not in said
        codes.add(process.returncode)
    assert -number in codes
    assert codes <= {-number, 128 + number, 2}
