"""Benchmarks: what a replay costs, as ratios to decoding the same columns, measured in one run.

Two things are compared by running them in turn, A B A B ..., and taking the median of the ratios of pairs:
then neither a slow machine nor one whose speed drifts changes the answer much.  Times are CPU time of the
whole process on one core, with nothing decoded ahead, unless a figure says otherwise: two cores would
add what it costs to hand memory from one to the other, which depends on the machine.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay import __version__
from eptreplay.bench.measured import own_peak_memory
from eptreplay.ingest.native.layout import FAST_LAYOUT, trace_writer
from eptreplay.profiles import resolve
from eptreplay.replay.one_guest import replay_trace
from eptreplay.replay.one_host import replay_host
from eptreplay.replay.rows.schedule import timed_row_groups
from eptreplay.replay.rows.span import Span, interval_schedules, sweep_schedules
from eptreplay.request.choices import MissRatio, Policy
from eptreplay.request.host import HostOptions
from eptreplay.request.options import Options, TlbOptions
from eptreplay.units import Every

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace

EIGHT_PROFILES = (
    "ept-ad",
    "ept-ad-nosp",
    "ept-emul",
    "ept-emul-nosp",
    "ept-emul-xo",
    "x86",
    "haswell",
    "nehalem",
)
REPEATS_FOR_MEMORY = 10
KIB = 1 << 10
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Args:
        name: what was measured.
        value: the median.
        unit: of the value; `ratio` for a ratio of CPU times.
        bar: what it must not exceed (with `at_least`: fall below); None for a figure without a bar.
        low: the least of the runs.
        high: the greatest.
        parts: what the ratio was made of, CPU nanoseconds a row, by name.
        at_least: whether more is better.
    """

    name: str
    value: float
    unit: str
    bar: float | None = None
    low: float = 0.0
    high: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None without a bar."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "cpu": model,
        "cpus": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "eptreplay": __version__,
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
    }


def decode(trace: GuestTrace, options: Options) -> None:
    """Decode the columns that a replay with these options needs, and nothing else, with pyarrow on one thread."""
    span = Span.of(trace)
    timed = timed_row_groups(trace, [*sweep_schedules(span, options), *interval_schedules(span, options)])
    for ordinal, group in enumerate(trace.row_groups):
        wanted = ["gpa", "op", *(name for name in ("size", "count") if name in trace.columns)]
        wanted += ["time"] if ordinal in timed else []
        wanted += ["vcpu"] if group.vcpu_constant is None else []
        file = pq.ParquetFile(group.file)
        file.read_row_group(group.index, columns=wanted, use_threads=False)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of this process that some work takes, seconds."""
    before = time.process_time()
    work()
    return time.process_time() - before


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def ratio(
    name: str,
    rows: int,
    a: Callable[[], object],
    b: Callable[[], object],
    *,
    bar: float | None,
    runs: int,
    at_least: bool = False,
) -> Figure:
    """Return the CPU time of `a` as a multiple of that of `b`: the median over pairs run in turn, after one not counted."""
    with one_core():
        pairs = [(cpu_seconds(a), cpu_seconds(b)) for _ in range(runs + 1)][1:]
    ratios = [x / y for x, y in pairs]
    parts = {
        "a_ns_per_row": statistics.median(x for x, _ in pairs) / rows * 1e9,
        "b_ns_per_row": statistics.median(y for _, y in pairs) / rows * 1e9,
    }
    return Figure(name, statistics.median(ratios), "ratio", bar, min(ratios), max(ratios), parts, at_least)


def repeat_trace(source: Path, target: Path, times: int) -> None:
    """Write a trace several times over into one file, each time later than before, in bounded memory."""
    file = pq.ParquetFile(source)
    span = 0
    with trace_writer(target, file.schema_arrow, FAST_LAYOUT) as writer:
        for turn in range(times):
            last = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                moments = table["time"].to_numpy() + np.uint64(span * turn)
                last = int(moments[-1])
                writer.write_table(
                    table.set_column(table.schema.get_field_index("time"), "time", pa.array(moments))
                )
            if turn == 0:
                span = last


def replay_figures(label: str, trace: GuestTrace, runs: int) -> list[Figure]:
    """Return what replays of a trace cost as multiples of decoding."""
    one = [resolve("ept-ad")]
    emulated = [resolve("ept-emul")]
    eight = [resolve(name) for name in EIGHT_PROFILES]
    default = Options(decode_ahead=False)
    counted = replace(default, page_accesses=True)
    aging = replace(default, policy=Policy.AGE, every=Every(1_000_000, timed=False))
    harvest = replace(aging, policy=Policy.HARVEST)
    often = replace(aging, every=Every(-(-trace.rows // 256), timed=False))
    translated = replace(default, tlb=TlbOptions())

    second = Every(1_000_000_000, timed=True)
    scanned = replace(default, host=HostOptions(scan_interval=second))
    aged = replace(aging, every=second)

    def against_decode(name: str, profiles: Sequence[Any], options: Options, bar: float | None) -> Figure:
        return ratio(
            f"{label}: {name} / decode",
            trace.rows,
            lambda: replay_trace(trace, profiles, options),
            lambda: decode(trace, options),
            bar=bar,
            runs=runs,
        )

    return [
        against_decode("one profile, 256 intervals", one, default, 1.25),
        against_decode("one profile, exact accesses a page", one, counted, None),
        against_decode("one profile, aging every million rows", one, aging, 1.25),
        against_decode("one profile with emulated A/D, aging every million rows", emulated, aging, None),
        against_decode("one profile, 256 aging sweeps", one, often, 2.0),
        against_decode("one profile with TLBs", [resolve("haswell")], translated, 2.0),
        against_decode("one profile, harvests every million rows", one, harvest, None),
        against_decode("one profile, --mrc intervals", one, replace(default, mrc=MissRatio.INTERVALS), None),
        against_decode("one profile, --mrc exact", one, replace(default, mrc=MissRatio.EXACT), None),
        against_decode("eight profiles in one pass", eight, default, 1.5),
        ratio(
            f"{label}: a host with ample memory and a scan a second / aging every second",
            trace.rows,
            lambda: replay_host([trace], one, scanned),
            lambda: replay_trace(trace, one, aged),
            bar=1.1,
            runs=runs,
        ),
        ratio(
            f"{label}: eight runs / eight profiles in one pass",
            trace.rows,
            lambda: [replay_trace(trace, [profile], default) for profile in eight],
            lambda: replay_trace(trace, eight, default),
            bar=5.0,
            runs=max(1, runs // 2),
            at_least=True,
        ),
    ]


def start_figures(trace: Path, runs: int) -> list[Figure]:
    """Return how long help, a first replay and the compiling before the first ever take, wall seconds."""

    def wall(arguments: Sequence[str], **environment: str) -> float:
        before = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments], check=True, capture_output=True, env=os.environ | environment
        )
        return time.perf_counter() - before

    measured = ["-m", "eptreplay.bench.measured"]
    helps = [wall(["-m", "eptreplay", "--help"]) for _ in range(runs)]
    with tempfile.TemporaryDirectory() as folder:
        cold = wall(measured, EPTREPLAY_CACHE_DIR=folder)
        warm = [wall([*measured, str(trace), "ept-ad"], EPTREPLAY_CACHE_DIR=folder) for _ in range(runs)]
    return [
        Figure("--help, wall", statistics.median(helps), "s", 0.15, min(helps), max(helps)),
        Figure(
            "warm start: process that replays 1,000 rows, wall",
            statistics.median(warm),
            "s",
            1.0,
            min(warm),
            max(warm),
        ),
        Figure("compiling everything, once on a machine, wall", cold, "s", 30.0, cold, cold),
    ]


def memory_figures(trace: Path, folder: Path) -> list[Figure]:
    """Return what a replay's peak memory grows by when the trace is ten times as long."""
    longer = folder / "longer.parquet"
    repeat_trace(trace, longer, REPEATS_FOR_MEMORY)
    once, often = peak_memory(trace), peak_memory(longer)
    return [
        Figure("peak memory of a replay", once / MIB, "MiB"),
        Figure(
            f"peak memory, {REPEATS_FOR_MEMORY} times the rows / once",
            often / once,
            "ratio",
            1.05,
            often / once,
            often / once,
        ),
    ]


def peak_memory(trace: Path, profiles: Sequence[str] = ("ept-ad",)) -> float:
    """Return the peak resident memory of a process that replays a trace, bytes."""
    found = subprocess.run(
        [sys.executable, "-m", "eptreplay.bench.measured", str(trace), *profiles],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(found.stdout)


def first_rows(trace: Path, target: Path, rows: int) -> None:
    """Write the first rows of a trace as a trace of its own."""
    file = pq.ParquetFile(trace)
    with trace_writer(target, file.schema_arrow, FAST_LAYOUT) as writer:
        writer.write_table(file.read_row_group(0).slice(0, rows))


def as_json(figures: Sequence[Figure]) -> str:
    """Return figures and machine as JSON."""
    return json.dumps({"machine": machine(), "figures": [asdict(figure) for figure in figures]}, indent=1)


def as_text(figures: Sequence[Figure]) -> list[str]:
    """Return figures and machine as lines of text."""
    lines = [f"{name:10} {value}" for name, value in machine().items()]
    for figure in figures:
        bar = (
            ""
            if figure.bar is None
            else f"  bar {'at least ' if figure.at_least else ''}{figure.bar:g}: {'met' if figure.met else 'NOT MET'}"
        )
        parts = "".join(f"  {name} {value:.1f}" for name, value in figure.parts.items())
        lines.append(
            f"{figure.value:8.3f} {figure.unit:6} {figure.name} ({figure.low:.3f} to {figure.high:.3f}){bar}{parts}"
        )
    peak = own_peak_memory() / MIB
    return [*lines, f"{peak:8.0f} MiB    peak memory of the benchmark itself"]
