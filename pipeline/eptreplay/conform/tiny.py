"""Tiny scenarios: single accesses on a tiny host under a real page daemon, compared step by step.

docs/conformance.md describes the files.  In large ones, accesses, queue entries and events stand for runs
of pages; both sides are compared page by page.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from eptreplay.conform.json_lines import first_keys
from eptreplay.conform.pageout import Recording, checkpoint, compare_limits, replay_of
from eptreplay.conform.report import Mismatch, Report
from eptreplay.errors import TraceError
from eptreplay.model.access_loop.sweep import scan
from eptreplay.model.instances import guest_bases
from eptreplay.model.page.vm_pagequeue import PQ_ACTIVE, PQ_INACTIVE
from eptreplay.model.state.rows import rows_of
from eptreplay.model.vm import event_log as log
from eptreplay.replay.rows.batch import RowBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eptreplay.replay.driver.replay import Replay


_HEAD = {"steps", "H", "guests", "pages_per_guest", "nvcpus", "type", "flags"}
OF_OTHER_KINDS = {"objects", "host_process"}
"""Keys of scenarios of reservations, and of wiring."""
_LOG_WORDS = 1 << 24
_KINDS = {"R": 0, "W": 1, "X": 2}
_PAGE_SHIFT = 12
_ENTRY = 8  # numbers of a queue entry that stands for one page; one more if it stands for a run

Event = tuple[Any, ...]
"""What the host did: kind and numbers, in guest and page where the log has a flat page."""

_SINGLE = {
    log.LOG_ALLOCATE: "allocate",
    log.LOG_FREE: "free",
    log.LOG_SWAP_IN: "swap_in",
    log.LOG_ZERO_FILL: "zero_fill",
    log.LOG_SOFT_FAULT: "soft_fault",
}


def tiny_files(folder: Path) -> list[Path]:
    """Return the tiny scenarios in a folder, by name."""
    return [path for path in sorted(folder.glob("tiny_*.json")) if not first_keys(path) & OF_OTHER_KINDS]


def check_tiny(folder: Path) -> Report:
    """Replay the tiny scenarios of a folder and compare events, queues and counters after every step.

    Raises:
        TraceError: a file is damaged.
    """
    report = Report()
    for path in tiny_files(folder):
        report.add(_check(_load(path)))
    return report


def _load(path: Path) -> Recording:
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TraceError(str(path), f"not a tiny scenario: {error}", expected="one JSON object") from error
    if not isinstance(head, dict) or not head.keys() >= _HEAD:
        raise TraceError(str(path), "not a tiny scenario", expected=f"a JSON object with {sorted(_HEAD)}")
    return Recording(path, head, head["steps"])


def _check(recording: Recording) -> Report:
    head = recording.head
    replay = replay_of([recording], [[[0, head["pages_per_guest"]]]] * head["guests"], _LOG_WORDS)
    report = Report(sequences=1)
    compare_limits(report, recording)
    by_runs = any(len(step["op"]) > 3 and step["op"] != "tick" for step in recording.lines)
    expected = checkpoint(replay)[0]
    for number, step in enumerate(recording.lines):
        replay.states.vm.log_used[:] = 0
        report.operations += _make(replay, step["op"])
        where, place = recording.path.name, f"step {number}, {step['op']}"
        _compare_lists(
            report,
            where,
            place,
            "events",
            list(_expected_events(step, by_runs=by_runs)),
            list(_found_events(replay, by_runs=by_runs)),
        )
        for name, queue in (("active", PQ_ACTIVE), ("inactive", PQ_INACTIVE)):
            found = _found_queue(replay, queue)
            _compare_lists(report, where, place, name, _single_entries(step[name]), found)
        known = {
            name for name in expected if name not in {"rows", "hash_active", "hash_inactive", "state_sum"}
        }
        expected |= step["changed"]
        after = {name: expected[name] for name in known | step["changed"].keys()}
        sums = {name: step[name] for name in ("hash_active", "hash_inactive", "state_sum")}
        report.compare(where, place, after | sums, checkpoint(replay)[0])
    return report


def _make(replay: Replay, op: Sequence[Any] | str) -> int:
    """Make the accesses of a step, or its idle scan; return how many accesses, or 1 for a scan."""
    if op == "tick":
        scan(replay.states)
        return 1
    guest, first = int(op[0]), int(op[1])
    step = int(op[4]) if len(op) > 4 else 1
    pages = range(first, first + int(op[2]) * step, step) if len(op) > 3 else [first]
    kind = _KINDS[op[3] if len(op) > 3 else op[2]]
    flat = np.array(pages, np.uint64) + np.uint64(guest_bases(replay.guests)[guest])
    rows = len(flat)
    rows_made = rows_of(
        flat << np.uint64(_PAGE_SHIFT),
        np.full(rows, kind, np.uint8),
        guest=np.full(rows, guest, np.uint8),
        row=np.arange(replay.rows, replay.rows + rows, dtype=np.int64),
    )
    replay.replay(RowBatch(rows, rows_made), 0, rows)
    return rows


def _expected_events(step: dict[str, Any], *, by_runs: bool) -> Iterator[Event]:
    """Yield the recorded events of a step, page by page."""
    for event in step["events"]:
        name = next(iter(event))
        if name == "scan_pass":
            queues = [tuple(map(tuple, _single_entries(event[queue]))) for queue in ("active", "inactive")]
            yield (name, event["scan_pass"], event["free"], *queues)
        elif name == "launder":
            yield ("launder", *(_run(event["launder"]) if by_runs else map(tuple, event["launder"])))
        else:
            extra = [event[key] for key in event if key != name]
            for page in _run(event[name]):
                yield (name, page, *extra)


def _run(run: Sequence[int]) -> list[tuple[int, int]]:
    """Return guest and page of every page of a run; one without a length is one page."""
    length = run[2] if len(run) > 2 else 1
    return [(run[0], run[1] + k) for k in range(length)]


def _single_entries(entries: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return queue entries page by page."""
    single: list[tuple[int, ...]] = []
    for entry in entries:
        if len(entry) > _ENTRY:
            single += [(entry[0], entry[1] + k, *entry[3:]) for k in range(entry[2])]
        else:
            single.append(tuple(entry))
    return single


def _found_events(replay: Replay, *, by_runs: bool) -> Iterator[Event]:
    """Yield the logged events of a step, page by page."""
    used = int(replay.states.vm[0, 0]["log_used"])
    words = [int(word) for word in replay.states.log[0, :used]]
    at = 0
    while at < used:
        kind, first, second = words[at : at + 3]
        at += 3
        if kind == log.LOG_SCAN:
            queues = []
            for _ in range(2):
                end = at + 1 + words[at] * log.LOG_PAGE_WORDS
                queues.append(tuple(_entries(replay, words[at + 1 : end])))
                at = end
            yield ("scan_pass", first, second, *queues)
        elif kind == log.LOG_LAUNDER:
            yield ("launder", *(_place(replay, first + k) for k in range(second)))
        elif kind in _SINGLE and (kind != log.LOG_ALLOCATE or not by_runs):
            extra = [second] if kind in {log.LOG_ALLOCATE, log.LOG_FREE} else []
            yield (_SINGLE[kind], _place(replay, first), *extra)


def _entries(replay: Replay, words: Sequence[int]) -> list[tuple[int, ...]]:
    """Return logged pages of a queue as entries."""
    step = log.LOG_PAGE_WORDS
    return [(*_place(replay, words[i]), *words[i + 1 : i + step]) for i in range(0, len(words), step)]


def _place(replay: Replay, flat: int) -> tuple[int, int]:
    """Return guest and page of a flat guest page."""
    bases = guest_bases(replay.guests)
    guest = max(number for number in range(len(replay.guests)) if bases[number] <= flat)
    return guest, flat - bases[guest]


def _found_queue(replay: Replay, queue: int) -> list[tuple[int, ...]]:
    """Return the entries of a queue as it stands."""
    replay.states.vm.log_used[:] = 0
    log.log_queues(replay.states, queue)
    used = int(replay.states.vm[0, 0]["log_used"])
    return _entries(replay, [int(word) for word in replay.states.log[0, 1:used]])


def _compare_lists(
    report: Report, where: str, place: str, name: str, expected: Sequence[Event], found: Sequence[Event]
) -> None:
    """Compare two lists of events, or of queue entries."""
    length = max(len(expected), len(found))
    report.values += length
    for i in range(length):
        wanted = expected[i] if i < len(expected) else None
        seen = found[i] if i < len(found) else None
        if wanted != seen:
            report.mismatches += 1
            if not any(mismatch.where == where for mismatch in report.first):
                detail = (f"expected {wanted}", f"found    {seen}")
                report.first.append(Mismatch(where, f"{place}, {name} {i}", name, length, len(found), detail))
