"""What the benchmark measures as a whole process: `python -m eptreplay.bench.measured [TRACE PROFILE ...]`.

With a trace it replays this under the profiles, without one it compiles everything; then it prints its peak resident memory, bytes.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.profiles import resolve
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.one_host import warm_up
from eptreplay.request.options import Options

KIB = 1 << 10


def own_peak_memory() -> int:
    """Return the peak resident memory of this program, bytes.

    Linux counts in ru_maxrss also what the process had before it became this program; VmHWM begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def main(trace: str = "", *profiles: str) -> None:
    """Replay a trace under profiles, or compile everything; print the peak memory, bytes."""
    if trace:
        replay_trace(open_trace(trace), [resolve(name) for name in profiles], Options())
    else:
        warm_up()
    print(own_peak_memory())  # noqa: T201 - read by the process that measures


if __name__ == "__main__":
    main(*sys.argv[1:])
