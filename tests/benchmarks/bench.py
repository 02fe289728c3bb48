"""`make bench`: measure, print, compare with the last results kept, and keep new ones when asked.

    bench.py [--trace FILE ...] [--runs N] [--zipf-rows N] [--keep]

Without --trace the sample trace is repeated until it is as long as a real capture.  A ratio that is more than
a fifth worse than in the newest results of the same traces under results/ makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from eptreplay.bench import measure as bench
from eptreplay.bench import wide as bench_wide
from eptreplay.ingest.synth.synthetic import Synthetic, write_synthetic

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SAMPLE = HERE.parents[1] / "traces" / "web-1vcpu.parquet"
SAMPLE_REPEATS = 5
ALLOWED = 1.2


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure what replays cost.")
    parser.add_argument(
        "--trace", type=Path, nargs="*", default=[], help="traces to measure instead of the sample"
    )
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each pair")
    parser.add_argument(
        "--zipf-rows", type=int, default=50_000_000, help="rows of the made-up trace, 0 for none"
    )
    parser.add_argument("--keep", action="store_true", help="keep the results under tests/benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        traces = list(options.trace)
        if not traces:
            traces = [Path(folder) / "web-1vcpu.parquet"]
            bench.repeat_trace(SAMPLE, traces[0], SAMPLE_REPEATS)
        if options.zipf_rows:
            traces.append(Path(folder) / "zipf-1GiB.parquet")
            write_synthetic(
                traces[-1], Synthetic(rows=options.zipf_rows, memory_bytes=1 << 30, distribution="zipf")
            )
        figures = bench_wide.run(traces, options.runs)
    sys.stdout.write("\n".join(bench.as_text(figures)) + "\n")
    worse = regressions(figures)
    for line in worse:
        sys.stdout.write(f"REGRESSION: {line}\n")
    if options.keep:
        keep(figures)
    return 1 if worse else 0


def regressions(figures: list[bench.Figure], folder: Path = RESULTS) -> list[str]:
    """Return the ratios that are more than a fifth worse than in the newest results kept in a folder."""
    kept = sorted(folder.glob("*.json"))
    if not kept:
        return []
    before = {figure["name"]: figure["value"] for figure in json.loads(kept[-1].read_text())["figures"]}
    return [
        f"{figure.name}: {figure.value:.3f}, was {before[figure.name]:.3f} in {kept[-1].name}"
        for figure in figures
        if figure.unit == "ratio" and figure.name in before and _is_worse(figure, before[figure.name])
    ]


def _is_worse(figure: bench.Figure, before: float) -> bool:
    """Return whether a ratio is more than a fifth worse than before."""
    return figure.value * ALLOWED < before if figure.at_least else figure.value > ALLOWED * before


def keep(figures: list[bench.Figure]) -> None:
    """Write the results with date and commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE, check=True
    ).stdout.strip()
    now = datetime.now(UTC)
    path = RESULTS / f"{now:%Y-%m-%dT%H%M}-{commit}.json"
    RESULTS.mkdir(exist_ok=True)
    results = json.loads(bench.as_json(figures)) | {"date": f"{now:%Y-%m-%d}", "commit": commit}
    path.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(f"kept in {path}\n")


if __name__ == "__main__":
    sys.exit(main())
