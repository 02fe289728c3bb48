"""The command `bench`: what replays cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.bench import measure as benchmark
from eptreplay.bench import wide as bench_wide
from eptreplay.cli.console import say
from eptreplay.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def bench(traces: Sequence[Path], runs: int, *, as_json: bool) -> int:
    """Carry out `bench` and return the exit code."""
    figures = bench_wide.run(traces, runs)
    for line in benchmark.as_json(figures).split("\n") if as_json else benchmark.as_text(figures):
        say(line)
    return Exit.GOOD
