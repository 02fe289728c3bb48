"""Recordings of whole traces of one guest whose frames a real kernel chose, replayed and compared line by line.

docs/conformance.md describes the files.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.conform.json_lines import first_keys, lines_of, whole_number
from eptreplay.conform.pageout import Recording, compare_limits
from eptreplay.conform.report import Mismatch, Report
from eptreplay.errors import TraceError, UsageError
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.model.instances import GuestMemory
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, PQ_INACTIVE
from eptreplay.model.recorded.frames import frame_digests
from eptreplay.model.recorded.queue_hash import queue_entries, queue_hashes
from eptreplay.model.vm.vm_limits import HostMemory
from eptreplay.replay.driver.drive import drive
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.found.snapshots import counters
from eptreplay.replay.rows.in_order import guest_rows
from eptreplay.replay.rows.schedule import Action, Schedule
from eptreplay.replay.state.pmap_choice import AnyPmap
from eptreplay.request.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_HEAD = frozenset({"trace", "type", "flags", "frames", "ram_pages", "kernel_frames", "every"})
FOLDER = "traces"
"""The folder beside recordings of reservations that these stand in."""

_OF_SNAPSHOT = ("traps", "promotions", "demotions", "p_failures")
_OF_GUEST = ("swap_ins", "laundered", "pageouts", "unswapped")
_MOST_FRAMES = 1 << 24
_SHOWN = 6


def frame_trace_files(folder: Path) -> list[Path]:
    """Return the recordings of whole traces in a folder, and in the folder of traces inside it, by name."""
    names = [*folder.glob("*.jsonl"), *(folder / FOLDER).glob("*.jsonl")]
    return [path for path in sorted(names) if first_keys(path) >= _HEAD]


def check_frame_traces(
    folder: Path, traces: Path | None, *, on_rows: Callable[[str, int], None] | None = None
) -> Report:
    """Replay the whole traces of a folder and compare every counter and digest of every line.

    Files about the same trace are replayed together, in one pass.

    Args:
        folder: holds the recordings.
        traces: holds the traces they name; None: the same folder.
        on_rows: called with the name of what is replayed, and how many more rows of it are done.

    Raises:
        UsageError: a trace is not there.
        TraceError: a file is damaged.
    """
    groups: dict[str, list[Recording]] = defaultdict(list)
    for path in frame_trace_files(folder):
        head, lines = lines_of(path, _HEAD)
        groups[str([head[name] for name in ("trace", "every", "ram_pages")])].append(
            Recording(path, head, lines)
        )
    report = Report()
    for group in groups.values():
        report.add(_check_group(group, traces or folder, on_rows))
    return report


class _Host(NamedTuple):
    """What a recording says of its host."""

    memory: HostMemory
    pmap: AnyPmap


def _host_of(recording: Recording) -> _Host:
    head, where = recording.head, str(recording.path)
    frames = whole_number(head["frames"], 1, _MOST_FRAMES, where, "frames")
    counts = bool(whole_number(head["kernel_frames"], 0, 2, where, "kernel_frames"))
    kind = whole_number(head["type"], 0, 2, where, "type")
    flags = whole_number(head["flags"], 0, 8, where, "flags")
    return _Host(HostMemory(frames=frames, identity=False, page_tables_count=counts), AnyPmap(kind, flags))


def _check_group(
    group: Sequence[Recording], traces: Path, on_rows: Callable[[str, int], None] | None
) -> Report:
    head, where = group[0].head, str(group[0].path)
    path = traces / f"{head['trace']}.parquet"
    if not path.exists():
        raise UsageError(f"{path}: no such trace; give the folder of the traces with --traces")
    trace = open_trace(path)
    every = whole_number(head["every"], 1, 1 << 62, where, "every")
    try:
        ram_pages = np.array(head["ram_pages"], np.int64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise TraceError(where, f"ram_pages: {error}", expected="ranges [begin, end) of pages") from error
    hosts = [_host_of(recording) for recording in group]
    guest = GuestMemory(ram_pages, trace.vcpus)
    replay = Replay([host.pmap for host in hosts], [guest], [host.memory for host in hosts])
    schedules = [Schedule(Action.CHECKPOINT, rows=every)]
    comparison = _Comparison(group)
    rows = guest_rows(trace, schedules, Options(intervals=0), vcpu=False)
    for _ in drive(replay, rows, schedules, lambda count: on_rows(head["trace"], count) if on_rows else None):
        comparison.take(replay)
    return comparison.end(replay)


class _Comparison:
    """The lines of the recordings of one trace, and how far they were compared."""

    def __init__(self, group: Sequence[Recording]) -> None:
        self.group = group
        self.number = 0
        self.report = Report(sequences=len(group))
        for recording in group:
            named = {"H": recording.head["frames"], **recording.head}
            compare_limits(self.report, Recording(recording.path, named, []))

    def take(self, replay: Replay) -> None:
        """Compare the next line of every recording with the replay as it stands."""
        for number, (recording, found) in enumerate(zip(self.group, checkpoint(replay), strict=True)):
            if self.number < len(recording.lines):
                self._compare(replay, number, recording, recording.lines[self.number], found)
        self.number += 1

    def _compare(
        self, replay: Replay, number: int, recording: Recording, line: object, found: dict[str, Any]
    ) -> None:
        where = recording.path.name
        if not isinstance(line, dict):
            raise TraceError(str(recording.path), f"the line is {str(line)[:60]}", expected="a JSON object")
        step = f"row {line.get('at_row', '?')}"
        self.report.compare(where, step, line, found)
        for i, mismatch in enumerate(self.report.first):
            if mismatch.where == where and mismatch.step == step and not mismatch.detail:
                detail = (_changes(line, found), *queue_ends(replay, number))
                self.report.first[i] = Mismatch(
                    where, step, mismatch.name, mismatch.expected, mismatch.found, detail
                )

    def end(self, replay: Replay) -> Report:
        """Compare the line at the end of the trace, where it is not a multiple of the distance of lines, and return the report."""
        if any(self.number < len(recording.lines) for recording in self.group):
            self.take(replay)
        for recording in self.group:
            expected = {"lines": len(recording.lines), "rows": recording.head.get("rows", replay.rows)}
            found = {"lines": self.number, "rows": replay.rows}
            self.report.compare(recording.path.name, "whole file", expected, found)
        self.report.operations = replay.rows * len(self.group)
        return self.report


def _changes(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """Return all counters of a line that differ."""
    wrong = [
        f"{name} {value} -> {found.get(name)}" for name, value in expected.items() if found.get(name) != value
    ]
    return f"expected -> found: {', '.join(wrong)}"


def queue_ends(replay: Replay, number: int) -> tuple[str, ...]:
    """Return the beginning of both queues of an instance, as text: a recording of digests has no more to compare with."""
    shown = []
    for name, queue in (("active", PQ_ACTIVE), ("inactive", PQ_INACTIVE)):
        entries = np.zeros((_SHOWN, 4), np.int64)
        length = int(queue_entries(replay.states, number, queue, entries))
        first = [tuple(int(value) for value in entry) for entry in entries[: min(length, _SHOWN)]]
        shown.append(f"{name} found, head first (page, act_count, dirty, seen once): {first} of {length:,}")
    return tuple(shown)


def checkpoint(replay: Replay) -> list[dict[str, Any]]:
    """Return the counters and digests of every instance of a replay of one guest, as the recordings name them."""
    hashes = np.zeros((len(replay.profiles), 2), np.uint64)
    queue_hashes(replay.states, hashes)
    snapshot = counters([replay.snapshot(None)])
    found = []
    for number in range(len(replay.profiles)):
        cnt, vm = replay.states.cnt[number, 0], replay.states.vm[number, 0]
        digests = np.zeros(3, np.uint64)
        frame_digests(replay.states, number, digests)
        values = {name: int(snapshot[name][0, number]) for name in _OF_SNAPSHOT}
        values |= {name: int(cnt[name]) for name in _OF_GUEST}
        found.append(
            {
                **values,
                **reservation_counters(cnt),
                "zero_fills": int(cnt["zero_fills"])
                - int(cnt["zeroed_before"]),  # pages that had to be filled
                "at_row": replay.rows,
                "free": int(vm["v_free_count"]),
                "active": int(vm["v_active_count"]),
                "inactive": int(vm["v_inactive_count"]),
                "wired": int(vm["kernel_pages"]) + int(cnt["v_wired"]),
                "kernel_pages": int(vm["kernel_pages"]),
                "emulated": sum(int(snapshot[f"ad_emulated_{kind}"][0, number]) for kind in "rw"),
                "vm_faults": sum(int(snapshot[f"vm_faults_{kind}"][0, number]) for kind in "rwx"),
                "pdpages": int(vm["v_pdpages"]),
                "pdwakeups": int(vm["v_pdwakeups"]),
                "whole": int(digests[2]),
                "hash_partpop": f"{int(digests[0]):016x}",
                "hash_active": f"{int(hashes[number, 0]):016x}",
                "hash_inactive": f"{int(hashes[number, 1]):016x}",
            }
        )
    return found


def reservation_counters(cnt: Any) -> dict[str, int]:  # noqa: ANN401 - a numpy record has no static type
    """Return the counters of reservations of a guest, as the recordings name them."""
    return {
        "new_reservations": int(cnt["reservations"]),
        "in_reservation": int(cnt["pages_reserved"]) - int(cnt["reservations"]),
        "singles": int(cnt["pages_allocated"]) - int(cnt["pages_reserved"]),
        "freed": int(cnt["reservations_freed"]),
        "reclaimed": int(cnt["reservations_broken"]),
    }
