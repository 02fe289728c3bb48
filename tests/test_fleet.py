"""A thousand guests, twenty of them bad and two that kill their process: the same run by threads, by processes, and in parts under xargs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.command_line import small_trace
from tests.test_processes import KILLING, content

if TYPE_CHECKING:
    from pathlib import Path

GUESTS, BAD, KILLING_GUESTS, PARTS = 1000, 20, 2, 7


def fleet(folder: Path) -> Path:
    """Write traces of a few sizes, half of the bad ones damaged at their end, half with a row that means nothing."""
    folder.mkdir()
    for number in range(GUESTS - BAD - KILLING_GUESTS):
        small_trace(folder / f"g{number:04}.parquet", rows=50 + number % 7 * 20)
    for number in range(BAD):
        bad = folder / f"bad{number:02}.parquet"
        small_trace(bad, rows=60, op=np.full(60, 77, np.uint8), statistics=False)
        if number % 2:
            bad.write_bytes(bad.read_bytes()[:-20])
    return folder


def eptreplay(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command in which guests of some names kill the process that replays them."""
    return subprocess.run(
        [sys.executable, "-m", "eptreplay", *map(str, arguments)],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )


def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(home / "site"), *filter(None, sys.path)]),
        "KILLED_BY": "SIGSEGV",
        "ONCE": str(home / "once"),
    }


def failed(said: str) -> list[str]:
    return sorted(line for line in said.splitlines() if "' failed: " in line)


def run_json(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
def test_a_thousand_guests_end_the_same_by_threads_processes_and_parts(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(KILLING)
    traces = fleet(tmp_path / "traces")
    options = ("-p", "x86", "--intervals", "4", "--mrc", "intervals")
    threads = eptreplay(tmp_path, "replay", traces, *options, "--out", tmp_path / "threads")
    assert threads.returncode == 3, threads.stderr[-2000:]
    assert len(failed(threads.stderr)) == BAD

    for number in range(KILLING_GUESTS):
        small_trace(traces / f"kills{number}.parquet", rows=50)
    processes = eptreplay(
        tmp_path, "replay", traces, *options, "--workers", 2, "--out", tmp_path / "processes"
    )
    assert processes.returncode == 3, processes.stderr[-2000:]
    assert len(failed(processes.stderr)) == BAD + KILLING_GUESTS
    assert set(failed(threads.stderr)) < set(failed(processes.stderr))
    assert processes.stderr.count("its process died twice (SIGSEGV)") == KILLING_GUESTS

    printed = eptreplay(tmp_path, "replay", traces, *options, "--out", tmp_path / "parts", "--print-plan")
    (tmp_path / "plan.toml").write_text(printed.stdout, encoding="utf-8")
    assert eptreplay(tmp_path, "batch", "init", tmp_path / "plan.toml", "--parts", PARTS).returncode == 0
    part = shlex.join([sys.executable, "-m", "eptreplay", "batch", "part", str(tmp_path / "plan.toml")])
    under_xargs = subprocess.run(
        ["sh", "-c", f"(seq {PARTS}; echo 3) | xargs -P 2 -n 1 {part}"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert under_xargs.returncode == 0, under_xargs.stderr[-2000:]
    finished = eptreplay(tmp_path, "batch", "finish", tmp_path / "plan.toml")
    assert finished.returncode == 3
    assert failed(finished.stderr) == failed(processes.stderr)
    assert content(tmp_path / "parts") == content(tmp_path / "processes")
    # Guests that kill their process cannot be among those of threads: all else is the same.
    one, other = (content(tmp_path / name) for name in ("threads", "processes"))
    assert {name for name in one if one[name] != other[name]} <= {"run.json", "index.html"}
    assert one.keys() == other.keys()
    assert run_json(tmp_path / "threads")["guests"] == run_json(tmp_path / "processes")["guests"]
