"""The first run on a machine compiles the model and says so; later ones, of any copy of the same version, say nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.command_line import small_trace

import eptreplay

COMMANDS = {
    "replay": ["replay", "{trace}", "-p", "x86", "--out", "{out}"],
    "TLBs": ["replay", "{trace}", "-p", "x86", "--tlb", "--out", "{out}"],
    "aging": ["replay", "{trace}", "-p", "x86", "--policy", "age", "--every", "1000", "--out", "{out}"],
    "harvest": ["replay", "{trace}", "-p", "x86", "--policy", "harvest", "--every", "1000", "--out", "{out}"],
    "host": ["replay", "{trace}", "-p", "x86", "--host-memory", "8M", "--out", "{out}"],
    "golden": ["conform", "{golden}/replays", "--traces", "{traces}"],
    "vectors": ["conform", "{golden}/vectors"],
}


@pytest.mark.slow
def test_whatever_command_comes_first_says_once_that_it_compiles_and_the_next_is_silent(
    tmp_path: Path,
) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    repository = Path(__file__).parents[1]
    other = tmp_path / "another checkout"
    package = Path(eptreplay.__file__).parent
    shutil.copytree(package, other / "eptreplay", ignore=shutil.ignore_patterns("__pycache__"))
    said: dict[str, list[str]] = {}
    for name, words in COMMANDS.items():
        for number, source in enumerate([package.parent, other]):
            places = {
                "trace": trace,
                "out": tmp_path / f"{name}{number}",
                "golden": repository / "tests/golden",
                "traces": repository / "traces",
            }
            done = subprocess.run(
                [sys.executable, "-m", "eptreplay", *(word.format(**places) for word in words)],
                env=os.environ | {"EPTREPLAY_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(source)},
                capture_output=True,
                text=True,
                check=True,
            )
            said.setdefault(name, []).append(done.stderr)
    assert said["replay"][0].count("compiling the model") == 1
    assert said["vectors"][0].count("compiling the model") == 1
    assert all(first.count("compiling the model") <= 1 for first, _ in said.values())
    assert [second for _, second in said.values()] == [""] * len(COMMANDS)
