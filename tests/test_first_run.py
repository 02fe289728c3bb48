"""The first run on a machine compiles the model, says so, and later runs need not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.command_line import small_trace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_only_the_first_run_compiles_and_it_says_so(tmp_path: Path) -> None:
    trace = small_trace(tmp_path / "guest.parquet")
    said = []
    for name in ("first", "second"):
        options = ["-p", "x86", "--out", str(tmp_path / name)]
        command = [sys.executable, "-m", "eptreplay", "replay", str(trace), *options]
        done = subprocess.run(
            command,
            env=os.environ | {"EPTREPLAY_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stderr)
    assert "compiling the model" in said[0]
    assert said[1] == ""
