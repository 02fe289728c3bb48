"""Stop the page daemon replays of this folder from a full set: `python tests/golden/cut_pageout.py RECORDINGS`.

Tiny scenarios are kept whole.  Of the replays of whole traces, the lines are kept that the sample traces
reach: a sample consists of the first rows of the trace it was cut from.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

TRACES = Path(__file__).parents[2] / "traces"
SAMPLES = {
    "web-1vcpu.raw": "web-1vcpu",
    "boot-2vcpu.raw": "boot-2vcpu",
    "full-2vcpu.filter64": "full-2vcpu",
}


def dense(value: object) -> str:
    """Return JSON in one line."""
    return json.dumps(value, separators=(",", ":"))


def cut(source: Path, target: Path) -> None:
    """Write what the samples reach of every recording in `source` to `target`."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("tiny_*.json"):
        (target / path.name).write_text(dense(json.loads(path.read_text())) + "\n")
    for path in source.glob("*.jsonl"):
        head, *lines = (json.loads(line) for line in path.read_text().splitlines())
        names = [SAMPLES[name] for name in head["traces"]]
        rows = min(pq.read_metadata(TRACES / f"{name}.parquet").num_rows for name in names) * len(names)
        config = path.name.removeprefix("+".join(head["traces"]))
        kept = [line for line in lines if line["at"] == "row" and line["rows"] <= rows]
        text = "\n".join(dense(line) for line in [head | {"traces": names, "rows": rows}, *kept])
        (target / ("+".join(names) + config)).write_text(text + "\n")


if __name__ == "__main__":
    cut(Path(sys.argv[1]), Path(__file__).parent / "pageout")
