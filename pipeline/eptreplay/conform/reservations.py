"""Recordings of reservations: which frame a real kernel gives to every page, replayed step by step.

docs/conformance.md describes the files; frame_traces.py replays whole traces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.conform.json_lines import document, first_keys, lines_of, whole_number
from eptreplay.conform.report import Mismatch, Report, report_of
from eptreplay.errors import TraceError
from eptreplay.model.instances import GuestMemory, guest_bases, new_instances
from eptreplay.model.recorded import frames as recorded
from eptreplay.model.state import pte
from eptreplay.model.vm.vm_limits import HostMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.model.state.state import State

_HEAD = frozenset({"frames", "objects", "v_free_reserved", "steps"})
_MOST_FRAMES = 1 << 24
_MOST_PAGES = 1 << 26
_CODES = {"alloc": recorded.ALLOC, "free": recorded.FREE, "kalloc": recorded.KALLOC, "kfree": recorded.KFREE}
_LENGTHS = {"alloc": (3, 5), "free": (3, 3), "kalloc": (1, 3), "kfree": (2, 2)}
"""By operation, the words of a step: with what it concerns, and with the answer, too."""
_OTHER_COUNTERS = {
    "freed": "reservations_freed",
    "reclaimed": "reservations_broken",
    "new_reservations": "reservations",
}


def reservation_files(folder: Path) -> list[Path]:
    """Return the recordings of reservations in a folder, scenarios first, by name."""
    names = [*sorted(folder.glob("tiny_*.json")), *sorted(folder.glob("seq_*.jsonl"))]
    return [path for path in names if first_keys(path) >= _HEAD]


def check_reservations(folder: Path, *, on_rows: Callable[[str, int], None] | None = None) -> Report:
    """Replay the recordings of reservations in a folder and compare every frame, counter and list.

    Args:
        folder: holds the recordings.
        on_rows: called with the name of what is replayed, and how many more steps of it are done.

    Raises:
        TraceError: a file is damaged.
    """
    return report_of(reservation_files(folder), _check_file, on_rows)


def _check_file(path: Path) -> Report:
    return _check_scenario(path) if path.suffix == ".json" else _check_sequence(path)


class _Host:
    """A host without guests' page tables, whose frames steps take and give back."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        where = str(path)
        frames = whole_number(head["frames"], 1, _MOST_FRAMES, where, "frames")
        self.objects = [_range_of(item, where) for item in _list_of(head["objects"], where, "objects")]
        if not self.objects:
            raise TraceError(where, "there are no objects", expected="at least one")
        self.where = where
        guests = [GuestMemory(np.array([pages], np.int64), 1) for pages in self.objects]
        self.bases = guest_bases(guests)
        kinds = np.full(1, pte.PT_EPT, np.int64), np.zeros(1, np.int64)
        host = HostMemory(frames=frames, identity=False)
        self.states: State = new_instances(*kinds, guests, [host], 1 << 32)
        vm: Any = self.states.vm
        vm.v_free_reserved[:] = whole_number(head["v_free_reserved"], 0, frames + 1, where, "v_free_reserved")
        vm.page_tables_count[:] = 1  # from here on: the pmaps of these objects are no part of the recording
        self.kernel_frames = np.zeros(1, np.int64)
        self.kernel_pages = 0

    def step(self, words: Sequence[Any], where: str) -> tuple[int, int, int]:
        """Return a step as run_frame_steps takes it."""
        if not isinstance(words, list) or not words or words[0] not in _CODES:
            raise TraceError(where, f"the step is {str(words)[:60]}", expected="alloc, free, kalloc or kfree")
        name = words[0]
        if len(words) not in _LENGTHS[name]:
            raise TraceError(
                where, f"the step has {len(words)} words", expected=f"{_LENGTHS[name]} for {name}"
            )
        if name == "kalloc":
            self.kernel_pages += 1
            return _CODES[name], self.kernel_pages - 1, 0
        if name == "kfree":
            return _CODES[name], whole_number(words[1], 0, self.kernel_pages, where, "the kernel page"), 0
        number = whole_number(words[1], 0, len(self.objects), where, "the object")
        begin, end = self.objects[number]
        page = whole_number(words[2], begin, end, where, "the page")
        return _CODES[name], number, self.bases[number] + page

    def run(self, steps: Sequence[tuple[int, int, int]], first: int) -> NDArray[np.int64]:
        """Carry out steps, the first of which has the number `first`; return their answers."""
        known = np.zeros(max(1, self.kernel_pages), np.int64)
        known[: len(self.kernel_frames)] = self.kernel_frames[: len(known)]
        self.kernel_frames = known
        answers = np.zeros((len(steps), 2), np.int64)
        asked = np.array(steps, np.int64).reshape(-1, 3)
        done = int(recorded.run_frame_steps(self.states, asked, self.kernel_frames, answers))
        if done < len(steps):
            raise TraceError(
                f"{self.where}, step {first + done}",
                "no kernel answers this step",
                expected="an alloc of what is not in memory, a free of what is",
            )
        return answers

    def counters(self) -> dict[str, Any]:
        """Return the counters and digests as the recordings name them."""
        cnt: Any = self.states.cnt
        totals = {
            name: int(cnt[name].sum())
            for name in (*_OTHER_COUNTERS.values(), "pages_reserved", "pages_allocated")
        }
        digests = np.zeros(3, np.uint64)
        with np.errstate(over="ignore"):
            recorded.frame_digests(self.states, 0, digests)
        vm: Any = self.states.vm
        return {
            "free": int(vm.v_free_count[0, 0]),
            **{name: totals[ours] for name, ours in _OTHER_COUNTERS.items()},
            "in_reservation": totals["pages_reserved"] - totals["reservations"],
            "singles": totals["pages_allocated"] - totals["pages_reserved"],
            "whole": int(digests[2]),
            "hash_partpop": f"{int(digests[0]):016x}",
            "hash_free": f"{int(digests[1]):016x}",
        }

    def partpop(self) -> list[list[int]]:
        """Return the queue of reservations, head first: block and frames in use."""
        found = np.zeros((self.states.rv.shape[1], 2), np.int64)
        length = int(recorded.list_partpop(self.states, found))
        return [[int(value) for value in entry] for entry in found[:length]]

    def free_lists(self) -> list[list[Any]]:
        """Return the lists of free runs that are not empty: pool, order, first frames."""
        found = np.zeros((self.states.page.shape[1], 3), np.int64)
        lists: dict[tuple[int, int], list[int]] = {}
        for pool, order, frame in found[: int(recorded.list_free_runs(self.states, found))]:
            lists.setdefault((int(pool), int(order)), []).append(int(frame))
        return [[pool, order, frames] for (pool, order), frames in lists.items()]


def _list_of(value: object, where: str, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise TraceError(where, f"{what} is {str(value)[:60]}", expected="a list")
    return value


def _range_of(value: object, where: str) -> tuple[int, int]:
    """Return a range of pages [begin, end)."""
    words = _list_of(value, where, "a range of pages")
    if len(words) != 2:
        raise TraceError(where, f"the range is {str(words)[:60]}", expected="its first page and its end")
    begin = whole_number(words[0], 0, _MOST_PAGES, where, "the first page")
    return begin, whole_number(words[1], begin + 1, _MOST_PAGES + 1, where, "the end")


class _Place(NamedTuple):
    """Where a comparison stands: the file, the number of the step, and the step as it was asked."""

    path: Path
    number: int
    asked: object

    def __str__(self) -> str:
        return f"step {self.number}, {self.asked}"


def _check_scenario(path: Path) -> Report:
    head = document(path, _HEAD | {"at_start"})
    host = _Host(path, head)
    report = Report(sequences=1)
    _compare_state(report, host, _Place(path, 0, "at the start"), head["at_start"])
    for number, step in enumerate(_list_of(head["steps"], str(path), "steps")):
        where = f"{path}, step {number}"
        if not isinstance(step, dict) or "op" not in step:
            raise TraceError(where, "the step has no operation", expected="a JSON object with 'op'")
        row = host.step(step["op"], where)
        frame, how = (int(value) for value in host.run([row], number)[0])
        answers = {"frame": frame, "how": how, "id": row[1]}
        place = _Place(path, number, step["op"])
        report.operations += 1
        _compare(report, place, {name: step[name] for name in answers if name in step}, answers)
        _compare_state(report, host, place, step)
    return report


def _compare_state(report: Report, host: _Host, place: _Place, expected: dict[str, Any]) -> None:
    """Compare the counters of a step and, entry by entry, its lists."""
    counters = host.counters()
    _compare(report, place, {name: expected[name] for name in counters if name in expected}, counters)
    for name, found in (("partpop", host.partpop()), ("free_lists", host.free_lists())):
        if name in expected:
            wanted = _list_of(expected[name], f"{place.path}, step {place.number}", name)
            report.compare_lists(place.path.name, str(place), name, wanted, found)


def _compare(report: Report, place: _Place, expected: dict[str, Any], found: dict[str, Any]) -> None:
    report.compare(place.path.name, str(place), expected, found)


def _check_sequence(path: Path) -> Report:
    head, lines = lines_of(path, _HEAD)
    host = _Host(path, head)
    report = Report(sequences=1)
    for first, steps, check in _stretches(lines, str(path)):
        rows = [host.step(words, f"{path}, step {first + i}") for i, words in enumerate(steps)]
        for i, (frame, how) in enumerate(host.run(rows, first)):
            words = steps[i]
            place = _Place(path, first + i, words)
            if words[0] == "alloc" and len(words) == 5:
                _compare(
                    report,
                    place,
                    {"frame": words[3], "how": words[4]},
                    {"frame": int(frame), "how": int(how)},
                )
            elif words[0] == "kalloc" and len(words) == 3:
                _compare(
                    report,
                    place,
                    {"id": words[1], "frame": words[2]},
                    {"id": rows[i][1], "frame": int(frame)},
                )
        report.operations += len(steps)
        if check is not None:
            place = _Place(path, first + len(steps) - 1, "check")
            counters = host.counters()
            _compare(report, place, check, counters)
            _show_lists(report, path.name, host, str(place))
    whole = {"steps": head["steps"]}
    report.compare(path.name, "whole file", whole, {"steps": report.operations})
    return report


def _stretches(lines: Sequence[Any], where: str) -> Iterator[tuple[int, list[Any], dict[str, Any] | None]]:
    """Yield the steps up to every checkpoint with the number of the first of them, and the checkpoint; None at the end."""
    steps: list[Any] = []
    first = 0
    for number, line in enumerate(lines):
        if isinstance(line, list) and len(line) == 2 and line[0] == "check" and isinstance(line[1], dict):
            yield first, steps, line[1]
            first += len(steps)
            steps = []
        elif isinstance(line, list) and line:
            steps.append(line)
        else:
            raise TraceError(
                f"{where}, line {number + 2}", f"the line is {str(line)[:60]}", expected="a step or a check"
            )
    yield first, steps, None


def _show_lists(report: Report, where: str, host: _Host, step: str) -> None:
    """Add to a mismatch of this step, if there is one, what the model's lists are: the recording has their digests only."""
    for i, mismatch in enumerate(report.first):
        if mismatch.where == where and mismatch.step == step and not mismatch.detail:
            detail = (
                f"queue found, head first: {host.partpop()[:8]}",
                f"free runs found: {str(host.free_lists())[:400]}",
            )
            report.first[i] = Mismatch(where, step, mismatch.name, mismatch.expected, mismatch.found, detail)
