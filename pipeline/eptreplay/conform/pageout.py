"""Page daemon replays: whole traces of guests in limited memory under a real page daemon, replayed and compared.

docs/conformance.md describes the files; tiny.py compares single steps.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.conform.json_lines import first_keys
from eptreplay.conform.releases import release_text
from eptreplay.conform.report import Report
from eptreplay.errors import TraceError, UsageError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.model.access_loop.sweep import scan
from eptreplay.model.instances import GuestMemory, guest_bases
from eptreplay.model.recorded.queue_hash import queue_hashes
from eptreplay.model.vm.vm_limits import HostMemory, limits
from eptreplay.replay.driver.drive import drive
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.found.snapshots import counters
from eptreplay.replay.rows.interleave import Source, interleaved
from eptreplay.replay.rows.schedule import Action, Schedule
from eptreplay.replay.state.pmap_choice import AnyPmap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.replay.rows.batch import RowBatch

_HEAD = {"traces", "H", "every", "nvcpus", "ram_pages", "type", "flags"}

# Counters of a guest that are compared under their own names, beside those of golden replays.
_GUEST_COUNTERS = (
    "zero_fills",
    "swap_ins",
    "soft_faults",
    "reactivated",
    "deactivated",
    "freed_clean",
    "cached",
    "try_to_cache",
    "pageouts",
    "laundered",
    "unswapped",
    "swap_copies",
)
# Counters of golden replays that page daemon replays do not have.
_OF_SWEEPS = {"x86_ipis", "sweeps", "ts_referenced", "dirty_last_harvest", "dirty_all_harvests"}
# Counters of the host that are compared under their own names.
_HOST_COUNTERS = (
    "v_free_count",
    "v_active_count",
    "v_inactive_count",
    "v_pdpages",
    "v_pdwakeups",
    "v_tfree",
    "scans_idle",
    "scans_pass1",
    "scans_pass2up",
    "max_pass",
)


class Recording(NamedTuple):
    """One file: its parameters, and its lines or steps."""

    path: Path
    head: dict[str, Any]
    lines: list[dict[str, Any]]


def pageout_files(folder: Path) -> list[Path]:
    """Return the page daemon replays in a folder, by name."""
    return sorted(path for path in folder.glob("*.jsonl") if first_keys(path) >= _HEAD)


def check_pageout(
    folder: Path, traces: Path | None, *, on_rows: Callable[[str, int], None] | None = None
) -> Report:
    """Replay all page daemon replays of a folder and compare every counter and hash of every line.

    Files about the same traces are replayed together, in one pass.

    Args:
        folder: holds the recordings.
        traces: holds the traces they name; None: the same folder.
        on_rows: called with the name of what is replayed, and how many more rows of it are done.

    Raises:
        UsageError: a trace is not there.
        TraceError: a file is damaged.
    """
    groups: dict[str, list[Recording]] = defaultdict(list)
    for path in pageout_files(folder):
        recording = _load(path)
        alike = [recording.head[name] for name in ("traces", "every", "nvcpus", "ram_pages", "rows")]
        groups[json.dumps(alike)].append(recording)
    report = Report()
    for group in groups.values():
        report.add(_check_group(group, traces or folder, on_rows))
    return report


def _load(path: Path) -> Recording:
    try:
        head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    except ValueError as error:
        raise TraceError(
            str(path), f"not a page daemon replay: {error}", expected="one JSON object per line"
        ) from error
    return Recording(path, head, lines)


def replay_of(group: Sequence[Recording], ram_pages: Sequence[Any], log_words: int = 0) -> Replay:
    """Return a replay, at its beginning, of the same guests with one profile per recording.

    Args:
        group: the recordings, which differ in pmap and host only.
        ram_pages: for every guest its ranges of pages that are memory.
        log_words: room for the log of what the host does.
    """
    guests = [
        GuestMemory(np.array(ranges, np.int64), int(vcpus))
        for ranges, vcpus in zip(ram_pages, group[0].head["nvcpus"], strict=True)
    ]
    heads = [recording.head for recording in group]
    pmaps = [AnyPmap(int(head["type"]), int(head["flags"])) for head in heads]
    hosts = [
        HostMemory(frames=int(head["H"]), update_period=int(head.get("update_period", 1))) for head in heads
    ]
    return Replay(pmaps, guests, hosts, log_words=log_words)


def _check_group(
    group: Sequence[Recording], traces: Path, on_rows: Callable[[str, int], None] | None
) -> Report:
    head = group[0].head
    replay = replay_of(group, head["ram_pages"])
    name = "+".join(head["traces"])
    every = int(head["every"])
    schedules = [Schedule(Action.SCAN, rows=every), Schedule(Action.CHECKPOINT, rows=every)]
    checkpoints = []
    rows = _rows_of(head["traces"], traces, replay)
    for action, _ in drive(replay, rows, schedules, lambda count: on_rows(name, count) if on_rows else None):
        if action is Action.SCAN:
            scan(replay.states)
        else:
            checkpoints.append(checkpoint(replay))
    checkpoints.append(checkpoint(replay))
    report = Report(sequences=len(group), operations=replay.rows * len(group), releases={release_text(head)})
    for number, recording in enumerate(group):
        compare_limits(report, recording)
        report.compare_lines(recording.path.name, recording.lines, [found[number] for found in checkpoints])
    return report


def _rows_of(names: Sequence[str], traces: Path, replay: Replay) -> Iterator[RowBatch]:
    """Yield the rows of one trace, or of several in turns, as many of each as the shortest has."""
    opened = []
    for name in names:
        path = traces / f"{name}.parquet"
        if not path.exists():
            raise UsageError(f"{path}: no such trace; give the folder of the traces with --traces")
        opened.append(open_trace(path))
    shortest = min(trace.rows for trace in opened)
    bases = guest_bases(replay.guests)

    def in_turn(number: int) -> Callable[[Batch, int], NDArray[np.uint64]]:
        def key(batch: Batch, rows: int) -> NDArray[np.uint64]:
            first = rows * len(names) + number
            return np.arange(first, first + batch.rows * len(names), len(names), dtype=np.uint64)

        return key

    sources = [
        Source(
            number,
            _first_rows(read_batches(trace, time_row_groups=()), shortest),
            bases[number],
            guest.pages,
            0,
            in_turn(number),
        )
        for number, (trace, guest) in enumerate(zip(opened, replay.guests, strict=True))
    ]
    return interleaved(sources)


def _first_rows(batches: Iterator[Batch], rows: int) -> Iterator[Batch]:
    """Yield the first `rows` rows of batches."""
    for batch in batches:
        taken = min(rows, batch.rows)
        yield replace(
            batch,
            rows=taken,
            gpa=batch.gpa[:taken],
            op=batch.op[:taken],
            size=None if batch.size is None else batch.size[:taken],
            count=None if batch.count is None else batch.count[:taken],
        )
        rows -= taken
        if rows == 0:
            return


def checkpoint(replay: Replay) -> list[dict[str, Any]]:
    """Return the counters of every instance, guests added up, as the recordings name them."""
    hashes = np.zeros((len(replay.profiles), 2), np.uint64)
    queue_hashes(replay.states, hashes)
    sums = replay.state_sums()
    by_guest = [counters([replay.snapshot(None, guest)]) for guest in range(len(replay.guests))]
    found = []
    for number in range(len(replay.profiles)):
        cnt, vm = replay.states.cnt[number], replay.states.vm[number, 0]
        values: dict[str, Any] = {
            name: sum(int(of_guest[name][0, number]) for of_guest in by_guest)
            for name in by_guest[0]
            if name not in _OF_SWEEPS
        }
        values |= {name: int(cnt[name].sum()) for name in _GUEST_COUNTERS}
        values |= {name: int(vm[name]) for name in _HOST_COUNTERS}
        values |= {
            "rows": replay.rows,
            "allocations": values.pop("pages_allocated"),
            "v_cache_count": 0,  # the cache keeps nothing: no page is ever in it
            "clusters": [int(count) for count in vm["clusters"]],
            "hash_active": int(hashes[number, 0]),
            "hash_inactive": int(hashes[number, 1]),
            "state_sum": sums[number],
        }
        found.append(values)
    return found


def compare_limits(report: Report, recording: Recording) -> None:
    """Compare the limits that follow from the size of the host."""
    found = limits(int(recording.head["H"]))._asdict()
    found["wakeup_thresh"] = found.pop("vm_pageout_wakeup_thresh")
    found["cluster_max"] = found.pop("vm_pageout_page_count")
    expected = recording.head.get("thresholds", {})
    report.compare(
        recording.path.name, "limits", {name: expected[name] for name in expected if name in found}, found
    )
