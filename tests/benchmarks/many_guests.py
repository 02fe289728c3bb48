"""How a run of many small guests does: `many_guests.py N [--rows R] [--intervals I] [--jobs J] [--keep DIR]`.

Makes N traces by rule, replays them with their pages, renders the pages again, and prints wall-clock time, CPU time and
peaks of resident memory as JSON: of the command itself, and of the largest of the processes that it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eptreplay.ingest.synth.synthetic import Distribution, Synthetic, write_synthetic

DISTRIBUTIONS: tuple[Distribution, ...] = ("zipf", "uniform", "sequential")
MEMORY = 16 << 20
TICKS = 0.05
"""Seconds between two looks at how much memory the processes have."""


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure a run of many small guests.")
    parser.add_argument("guests", type=int, metavar="N")
    parser.add_argument("--rows", type=int, default=2000, help="of each trace")
    parser.add_argument("--intervals", type=int, default=64)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="an empty folder for traces and run; else they are removed")
    options = parser.parse_args()
    if options.keep is not None:
        return measure(options.keep, options)
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), options)


def measure(folder: Path, options: argparse.Namespace) -> int:
    """Replay and render in a folder; print the figures and return the exit code."""
    traces, run = folder / "traces", folder / "run"
    make_traces(traces, options.guests, options.rows)
    replay = ["replay", traces, "--intervals", options.intervals, "--jobs", options.jobs, "--out", run]
    replayed, rendered = timed(replay), timed(["report", run])
    figures = {"guests": options.guests, "replay": replayed, "report": rendered}
    files = [path for path in run.rglob("*") if path.is_file()]
    figures |= {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return max(int(replayed["code"]), int(rendered["code"]))


def make_traces(folder: Path, guests: int, rows: int) -> None:
    """Write so many traces, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(guests):
        write_synthetic(
            folder / f"guest{number:05}.parquet",
            Synthetic(rows, MEMORY, DISTRIBUTIONS[number % len(DISTRIBUTIONS)], vcpus=2, seed=number),
        )


def timed(arguments: list[Any]) -> dict[str, Any]:
    """Run a command; return its exit code, seconds, CPU seconds with its children's, and peaks of memory in MB."""
    before = os.times()
    begin = time.perf_counter()
    command = [sys.executable, "-m", "eptreplay", *map(str, arguments)]
    own = children = together = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            parts = [resident(child) for child in children_of(process.pid)]
            own = max(own, resident(process.pid))
            children = max(children, *parts, 0)
            together = max(together, resident(process.pid) + sum(parts))
            time.sleep(TICKS)
    after = os.times()
    return {
        "code": process.returncode,
        "wall_s": round(time.perf_counter() - begin, 1),
        "cpu_s": round(sum(after[2:4]) - sum(before[2:4]), 1),
        "own_peak_mb": round(own / 1e6),
        "largest_child_peak_mb": round(children / 1e6),
        "together_peak_mb": round(together / 1e6),
    }


def children_of(process: int) -> list[int]:
    """Return the processes that a process started and that go on."""
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def resident(process: int) -> int:
    """Return the bytes of memory that a process has now; none when it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
