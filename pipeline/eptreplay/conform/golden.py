"""Golden replays: whole traces that went through a real pmap, with its counters every so many rows, replayed and compared.

docs/conformance.md describes the files.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.conform.releases import release_of, release_text
from eptreplay.conform.report import Report
from eptreplay.errors import TraceError, UsageError
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.model.instances import GuestMemory
from eptreplay.replay.driver.drive import drive
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.found.snapshots import counters
from eptreplay.replay.rows.in_order import guest_rows
from eptreplay.replay.rows.schedule import Action, Schedule
from eptreplay.replay.state.pmap_choice import AnyPmap
from eptreplay.request.choices import Policy
from eptreplay.request.options import Options, TlbOptions
from eptreplay.units import Every

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def golden_files(folder: Path) -> list[Path]:
    """Return the golden replays in a folder, by name."""
    return sorted(path for path in folder.glob("*.jsonl") if path.name.count(".") >= 3 and _is_golden(path))


def _is_golden(path: Path) -> bool:
    """Return whether a file begins like a golden replay."""
    with path.open(encoding="utf-8") as lines:
        try:
            head = json.loads(lines.readline())
        except (ValueError, UnicodeDecodeError):
            return False
    return isinstance(head, dict) and {"trace", "mode", "ram_pages", "nvcpus"} <= head.keys()


class _Golden(NamedTuple):
    """One golden file: its parameters and its lines of counters."""

    path: Path
    head: dict[str, Any]
    lines: list[dict[str, Any]]


_MODES = {0: Policy.PLAIN, 1: Policy.AGE, 2: Policy.HARVEST}


def check_golden(
    folder: Path,
    traces: Path | None,
    *,
    slow_path: bool = False,
    tlb: bool = False,
    on_rows: Callable[[str, int], None] | None = None,
) -> Report:
    """Replay the traces behind the golden files of a folder and compare every counter of every checkpoint.

    Files about the same trace and policy are replayed together, in one pass.

    Args:
        folder: holds the golden files.
        traces: holds the traces they name; None: the same folder.
        slow_path: whether the models make every access, also those known to change nothing.
        tlb: whether TLBs are modelled, too.
        on_rows: called with the name of what is replayed, and how many more rows of it are done.

    Raises:
        UsageError: a trace is not there.
        TraceError: a file is damaged.
    """
    groups: dict[tuple[str, ...], list[_Golden]] = defaultdict(list)
    for path in golden_files(folder):
        golden = _load_golden(path)
        head = golden.head
        groups[
            (
                head["trace"],
                str(head["mode"]),
                str(head["every"]),
                str(head["nvcpus"]),
                str(head["ram_pages"]),
            )
        ].append(golden)
    report = Report()
    for group in groups.values():
        report.add(_check_group(group, traces or folder, slow_path, tlb, on_rows))
    return report


def _load_golden(path: Path) -> _Golden:
    try:
        head, *lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    except ValueError as error:
        raise TraceError(
            str(path), f"not a golden replay: {error}", expected="one JSON object per line"
        ) from error
    return _Golden(path, head, lines)


def _check_group(
    group: list[_Golden], traces: Path, slow_path: bool, tlb: bool, on_rows: Callable[[str, int], None] | None
) -> Report:
    head = group[0].head
    path = traces / head["trace"]
    if not path.exists():
        raise UsageError(f"{path}: no such trace; give the folder of the traces with --traces")
    trace = open_trace(path)
    options = Options(policy=_MODES[int(head["mode"])], every=Every(head["every"], timed=False), intervals=0)
    pmaps = [_pmap(golden) for golden in group]
    guest = GuestMemory(np.array(head["ram_pages"], np.int64), int(head["nvcpus"]))
    replay = Replay(pmaps, [guest], slow_path=slow_path, tlb=TlbOptions() if tlb else None)
    schedules = [Schedule(Action.SWEEP, rows=head["every"]), Schedule(Action.CHECKPOINT, rows=head["every"])]
    checkpoints: list[list[dict[str, int]]] = []
    name = f"{head['trace']} {options.policy}"
    batches = guest_rows(trace, schedules, options, vcpu=False)
    for action, _ in drive(replay, batches, schedules, lambda rows: on_rows(name, rows) if on_rows else None):
        if action is Action.SWEEP:
            replay.sweep(options.policy)
        else:
            checkpoints.append(_checkpoint(replay))
    checkpoints.append(_checkpoint(replay))
    report = Report(
        sequences=len(group),
        operations=replay.rows * len(group),
        releases={release_text(golden.head) for golden in group},
    )
    for number, golden in enumerate(group):
        report.compare_lines(
            golden.path.name, golden.lines, [checkpoint[number] for checkpoint in checkpoints]
        )
    return report


def _pmap(golden: _Golden) -> AnyPmap:
    """Return the pmap that a golden file is about, under the release and the fault path that answered."""
    head = golden.head
    where = str(golden.path)
    if head.get("fault", "home") not in ("home", "soft"):
        raise TraceError(where, f"the fault path is {head['fault']!r}", expected="home or soft")
    return AnyPmap(
        int(head["type"]),
        int(head["flags"]),
        release=release_of(head, where),
        allow_2m_x_ept=int(head.get("allow_2m_x", 0)),
        fault_2m=head.get("fault", "home") == "soft",
    )


def _checkpoint(replay: Replay) -> list[dict[str, int]]:
    """Return the counters of every profile with the checksum of its tables."""
    replay.check_asserted()
    now = counters([replay.snapshot(None)])
    return [
        {name: int(values[0, number]) for name, values in now.items()} | {"state_sum": state_sum}
        for number, state_sum in enumerate(replay.state_sums())
    ]
