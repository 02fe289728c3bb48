"""Does another state of the sources write the same tables, byte for byte?

    python tests/same_tables.py OLD [NEW] [--only WORD]

OLD and NEW are source roots (folders that hold the package `eptreplay`); NEW is this checkout's unless given.  Each case is replayed from both,
and all tables of it are compared, CSV and Parquet.  Exit code 1 if any differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TRACES = ROOT / "traces"
SAMPLES = ("boot-2vcpu", "web-1vcpu", "full-2vcpu")
ONE, TWO = ("ept-ad",), ("haswell", "nehalem")
FOUR = ("ept-ad", "ept-emul", "x86", "broadwell")


class Case(NamedTuple):
    """One replay: which traces, under which profiles, and how."""

    name: str
    traces: tuple[str, ...]
    profiles: tuple[str, ...]
    options: tuple[str, ...] = ()


def cases(synthetic: Path) -> list[Case]:
    """Return every case; each runs on one thread and on two."""
    every = tuple(str(TRACES / f"{name}.parquet") for name in SAMPLES)
    made = (str(synthetic),)
    host = ("--host-memory", "56M", "--scan-interval", "1s")
    return [
        Case("plain, one profile", every, ONE),
        Case("plain, four profiles", (*every, *made), FOUR),
        Case("age by rows", (*every, *made), TWO, ("--policy", "age", "--every", "100K")),
        Case("age by time", every, FOUR, ("--policy", "age", "--every", "10ms")),
        Case("harvest by rows", (*every, *made), TWO, ("--policy", "harvest", "--every", "100K")),
        Case("harvest by time", every, FOUR, ("--policy", "harvest", "--every", "10ms")),
        Case("tlb", (*every, *made), TWO, ("--tlb",)),
        Case("tlb, large pages", every, ("haswell", "zen2"), ("--tlb", "--guest-pages", "2M")),
        Case("tlb, structures", every[:1], ONE, ("--tlb", "--paging-structures", "16")),
        Case("host", every, TWO, host),
        Case("host, aging", every, FOUR, (*host, "--policy", "age", "--every", "100ms")),
        Case("host, activity", every[:1], ONE, ("--vcpus", "activity")),
        Case("exact reuse distances", (*every, *made), ONE, ("--mrc", "exact")),
        Case("bounds only", every, TWO, ("--mrc", "intervals")),
        Case("page accesses", every, ONE, ("--page-accesses", "--intervals", "64")),
        Case("slow path", every[:1], TWO, ("--slow-path",)),
    ]


def replay(source: Path, case: Case, jobs: int, out: Path) -> None:
    """Replay a case from a source root."""
    command = [sys.executable, "-m", "eptreplay", "replay", *case.traces, "--out", str(out), *case.options]
    command += [word for name in case.profiles for word in ("-p", name)]
    subprocess.run(
        [*command, "--jobs", str(jobs)],
        env=os.environ | {"PYTHONPATH": str(source)},
        check=True,
        capture_output=True,
    )


def differing(old: Path, new: Path) -> list[str]:
    """Return the tables that are not the same files in both runs; columns.csv has words, not results."""
    names = {path.name for run in (old, new) for path in (run / "tables").iterdir()} - {"columns.csv"}
    return [
        name
        for name in sorted(names)
        if not all((run / "tables" / name).exists() for run in (old, new))
        or (old / "tables" / name).read_bytes() != (new / "tables" / name).read_bytes()
    ]


def make_synthetic(path: Path) -> None:
    """Write a made-up trace of Zipf-distributed accesses to 64 MiB."""
    code = (
        "import sys; from eptreplay.ingest.synth.synthetic import Synthetic, write_synthetic; from pathlib import Path; "
        "write_synthetic(Path(sys.argv[1]), Synthetic(rows=400_000, memory_bytes=64 << 20, distribution='zipf'))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "pipeline")},
        check=True,
    )


def main() -> int:
    """Compare; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path, nargs="?", default=ROOT / "pipeline")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    files = changed = 0
    with tempfile.TemporaryDirectory() as folder:
        synthetic = Path(folder, "made-up.parquet")
        make_synthetic(synthetic)
        for case in cases(synthetic):
            if given.only not in case.name:
                continue
            for jobs in (1, 2):
                runs = [
                    Path(folder, f"{side}-{jobs}", case.name.replace(", ", "-").replace(" ", "-"))
                    for side in ("old", "new")
                ]
                for source, run in zip((given.old, given.new), runs, strict=True):
                    replay(source, case, jobs, run)
                found = differing(*runs)
                files += len(list((runs[0] / "tables").iterdir())) - 1  # columns.csv
                changed += len(found)
                sys.stdout.write(f"{case.name}, {jobs} thread(s): {', '.join(found) or 'the same'}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{files} tables, {changed} differ\n")
    return int(changed > 0)


if __name__ == "__main__":
    sys.exit(main())
