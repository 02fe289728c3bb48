"""Runs in parts: any scheduler may carry them out, twice too, and what comes out is what one process writes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.run.parts.shares import balanced
from eptreplay.run.unfinished.claims import claimed
from eptreplay.run.unfinished.folder import find
from eptreplay.run.unfinished.manifest import MANIFEST_FILE

if TYPE_CHECKING:
    from pathlib import Path

PARTS = 3


def content(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if name not in (MANIFEST_FILE, "files.json")
    }


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Return the plan of nine guests, one of them bad and one that cannot be opened."""
    (tmp_path / "traces").mkdir()
    for number in range(7):
        small_trace(tmp_path / f"traces/g{number}.parquet", rows=100 * (number + 1))
    small_trace(tmp_path / "traces/bad.parquet", rows=10, op=np.full(10, 77, np.uint8), statistics=False)
    (tmp_path / "traces/closed.parquet").write_bytes(b"PAR1 and no more")
    path = tmp_path / "plan.toml"
    path.write_text(f'traces = ["{tmp_path}/traces"]\nprofile = ["x86"]\nout = "{tmp_path}/run"\n')
    return path


@pytest.mark.parametrize("parts", [1, 2, 7, 40])
def test_parts_have_about_as_many_rows_and_every_host_once(parts: int) -> None:
    rows = [(number * 7919) % 1000 for number in range(30)]
    shares = balanced(rows, parts)
    assert len(shares) == parts
    assert sorted(unit for share in shares for unit in share) == list(range(30))
    totals = [sum(rows[unit] for unit in share) for share in shares]
    assert max(totals) - min(totals) <= max(rows)
    assert shares == balanced(rows, parts)


def test_parts_under_xargs_one_of_them_twice_end_as_one_process_does(plan: Path, tmp_path: Path) -> None:
    """The example of docs/plans.md."""
    alone = eptreplay("batch", plan)
    assert alone.code == 3
    (tmp_path / "run").rename(tmp_path / "alone")
    begun = eptreplay("batch", "init", plan, "--parts", PARTS)
    assert begun.code == 0, begun.err
    assert "8 guests in 3 parts" in begun.out
    early = eptreplay("batch", "finish", plan)
    assert early.code == 2
    assert "8 of its guests are not done, as 'bad'" in early.err
    command = shlex.join([sys.executable, "-m", "eptreplay", "batch", "part", str(plan)])
    done = subprocess.run(
        ["sh", "-c", f"echo 1 2 3 2 | xargs -P 2 -n 1 {command}"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    finished = eptreplay("batch", "finish", plan)
    assert finished.code == 3
    for name in ("bad", "closed"):
        (line,) = [line for line in alone.err.splitlines() if f"guest '{name}' failed" in line]
        assert line in finished.err.splitlines()
    assert content(tmp_path / "run") == content(tmp_path / "alone")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "plan.toml", "run", "traces"]
    for again in (("init", plan, "--parts", PARTS), ("part", plan, 2), ("finish", plan)):
        answer = eptreplay("batch", *again)
        assert answer.code == 0
        assert "is complete; nothing is left to do" in answer.out


def test_a_part_that_is_claimed_is_left_alone_and_nothing_is_finished_or_cleared_meanwhile(
    plan: Path, tmp_path: Path
) -> None:
    assert eptreplay("batch", "init", plan, "--parts", PARTS).code == 0
    work = find(tmp_path / "run")
    assert work is not None
    with claimed(work.folder, 2) as holder:
        assert holder is None
        answer = eptreplay("batch", "part", plan, 2)
        assert answer.code == 0
        assert f"is being carried out (process {os.getpid()} on " in answer.err
        assert work.done() == []
        for command in (("clean", tmp_path / "run"), ("batch", "finish", plan), ("batch", plan, "--resume")):
            answer = eptreplay(*command)
            assert answer.code == 2
            assert "part 2 is being carried out" in answer.err
    assert eptreplay("batch", "part", plan, 2).code == 0
    assert len(work.done()) >= 1


def test_parts_that_make_no_sense_are_refused(plan: Path, tmp_path: Path) -> None:
    answer = eptreplay("batch", "part", plan, 1)
    assert answer.code == 2
    assert "begin with eptreplay batch init" in answer.err
    assert eptreplay("batch", "init", plan, "--parts", PARTS).code == 0
    answer = eptreplay("batch", "part", plan, 4)
    assert answer.code == 2
    assert "there is no part 4; the run has parts 1 to 3" in answer.err
    plan.write_text(plan.read_text() + "intervals = 7\n")
    answer = eptreplay("batch", "part", plan, 1)
    assert answer.code == 2
    assert "another options (intervals: 256, now 7)" in answer.err
    assert not (tmp_path / "run").exists()
