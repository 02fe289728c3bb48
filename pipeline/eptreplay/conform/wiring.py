"""Recordings of wiring, holds, advice, protection and faults under a real kernel, replayed step by step.

docs/conformance.md describes the files; wiring_host.py has the host that they are replayed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.conform.json_lines import document, first_keys, lines_of
from eptreplay.conform.pageout import Recording, compare_limits
from eptreplay.conform.report import Mismatch, Report, report_of
from eptreplay.conform.wiring_host import COUNTERS, NO_PAGE, WiringHost
from eptreplay.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_HEAD = frozenset({"config", "type", "flags", "frames", "pages", "steps", "thresholds"})
_SCENARIO = frozenset({"host_process"})
_SEQUENCE = frozenset({"columns"})
_PAGE_FIELDS = (
    "resident", "copy in swap", "queue", "act_count", "dirty", "wire_count", "hold_count", "seen_once", "referenced",
    "writeable", "level of mapping",
)  # fmt: skip
_LINE = 8
"""Words of the line of a step: the step, its answer, its page, free frames, both lengths, both hashes."""
_SHOWN = 8


def wiring_files(folder: Path) -> list[Path]:
    """Return the recordings of wiring in a folder, scenarios first, by name."""
    scenarios = [path for path in sorted(folder.glob("tiny_*.json")) if first_keys(path) >= _HEAD | _SCENARIO]
    names = [*sorted(folder.glob("seq_*.jsonl.gz")), *sorted(folder.glob("seq_*.jsonl"))]
    return scenarios + [path for path in names if first_keys(path) >= _HEAD | _SEQUENCE]


def check_wiring(folder: Path, *, on_rows: Callable[[str, int], None] | None = None) -> Report:
    """Replay the recordings of wiring in a folder and compare everything that they have after every step.

    Args:
        folder: holds the recordings.
        on_rows: called with the name of what is replayed, and how many more steps of it are done.

    Raises:
        TraceError: a file is damaged.
    """
    return report_of(wiring_files(folder), _check_file, on_rows)


def _check_file(path: Path) -> Report:
    return _check_scenario(path) if path.suffix == ".json" else _check_sequence(path)


class _Place(NamedTuple):
    """Where a comparison stands: the recording, the number of the step, and the step."""

    recording: Recording
    number: int
    asked: object

    @property
    def where(self) -> str:
        return self.recording.path.name

    @property
    def text(self) -> str:
        return f"step {self.number}, {self.asked}"


def _check_scenario(path: Path) -> Report:
    head = document(path, _HEAD | _SCENARIO)
    recording = Recording(path, {"H": head["frames"], **head}, head["steps"])
    report = Report(sequences=1)
    compare_limits(report, recording)
    host = WiringHost(recording, host_process=bool(head["host_process"]), logs=True)
    counters: dict[str, Any] = dict.fromkeys(COUNTERS, 0)
    if not isinstance(head["steps"], list):
        raise TraceError(str(path), f"steps is {str(head['steps'])[:60]}", expected="a list")
    for number, step in enumerate(head["steps"]):
        if not isinstance(step, dict) or not step.keys() >= {
            "op",
            "rc",
            "free",
            "changed",
            "active",
            "inactive",
        }:
            raise TraceError(f"{path}, step {number}", "not a step", expected="a JSON object of a step")
        place = _Place(recording, number, step["op"])
        row = host.step(step["op"], f"{path}, step {number}")
        host.forget_log()
        answer = host.run([row])[0]
        report.operations += 1
        counters |= step["changed"]
        known = {"rc": step["rc"], "free": step["free"], **counters}
        _compare_page(report, host, place, step.get("page"), answer)
        report.compare(
            place.where, place.text, known, {"rc": answer.rc, "free": answer.free, **host.counters()}
        )
        if (
            step["op"][0] != "access_run" and "events" in step
        ):  # a run is shown as one step without its events
            report.compare_lists(place.where, place.text, "events", step["events"], host.events())
        _compare_queues(report, host, place, step)
        _explain(report, host, place, row)
    return report


def _compare_queues(report: Report, host: WiringHost, place: _Place, step: dict[str, Any]) -> None:
    """Compare both queues, entry by entry; they come before what else differs, which follows from them."""
    for name, found in host.queues().items():
        report.compare_lists(place.where, place.text, name, step[name], found)


def _compare_page(report: Report, host: WiringHost, place: _Place, expected: object, answer: Any) -> None:  # noqa: ANN401 - Answer
    """Compare what is known of the first page of a step, field by field."""
    if expected is None:
        return
    found = host.page_facts(answer)
    if not isinstance(expected, list) or len(expected) not in (len(NO_PAGE), len(_PAGE_FIELDS)):
        where = f"{place.recording.path}, step {place.number}"
        raise TraceError(where, f"the page is {str(expected)[:60]}", expected="its fields")
    fields = dict(zip(_PAGE_FIELDS, expected, strict=False))
    report.compare(place.where, place.text, fields, dict(zip(_PAGE_FIELDS, found, strict=False)))


def _check_sequence(path: Path) -> Report:
    head, lines = lines_of(path, _HEAD | _SEQUENCE)
    recording = Recording(path, {"H": head["frames"], **head}, lines)
    report = Report(sequences=1)
    compare_limits(report, recording)
    host = WiringHost(recording, host_process=bool(head.get("host_process", 0)), logs=False)
    steps: list[Sequence[Any]] = []
    done = 0
    for number, line in enumerate(lines):
        if isinstance(line, list) and len(line) == _LINE:
            steps.append(line)
        elif isinstance(line, list) and len(line) == 2 and line[0] == "check" and isinstance(line[1], dict):
            _check_steps(report, host, recording, done, steps)
            done += len(steps)
            steps = []
            place = _Place(recording, done - 1, "check")
            report.compare(place.where, place.text, line[1], host.counters())
        else:
            where = f"{path}, line {number + 2}"
            raise TraceError(
                where, f"the line is {str(line)[:60]}", expected=f"{_LINE} words of a step, or a check"
            )
    _check_steps(report, host, recording, done, steps)
    report.operations = done + len(steps)
    report.compare(path.name, "whole file", {"steps": head["steps"]}, {"steps": report.operations})
    return report


def _check_steps(
    report: Report, host: WiringHost, recording: Recording, first: int, lines: Sequence[Sequence[Any]]
) -> None:
    """Carry out steps and compare their lines; after a mismatch, step by step up to it, to show the host as it is there."""
    rows = [host.step(line[0], f"{recording.path}, step {first + i}") for i, line in enumerate(lines)]
    for i, (line, answer) in enumerate(zip(lines, host.run(rows), strict=True)):
        page = host.page_facts(answer) if line[2] is not None else None
        report.values += _LINE - 1
        if [answer.rc, page, *answer.rest] == list(line[1:]):
            continue
        place = _Place(recording, first + i, line[0])
        report.values -= _LINE - 1
        _compare_page(report, host, place, line[2], answer)
        names = ("rc", "free", "active", "inactive", "hash_active", "hash_inactive")
        expected = dict(zip(names, (line[1], *line[3:]), strict=True))
        report.compare(
            place.where, place.text, expected, dict(zip(names, (answer.rc, *answer.rest), strict=True))
        )
        _explain_again(report, host, place, rows[i])


def _explain_again(report: Report, host: WiringHost, place: _Place, row: tuple[int, int, int, int]) -> None:
    """Add to the first mismatch of a sequence what the host was after that step, from a host that goes there once more."""
    mismatch = next((known for known in report.first if known.where == place.where), None)
    if mismatch is None or mismatch.step != place.text or mismatch.detail:
        return
    again = WiringHost(place.recording, host_process=host.host_process, logs=False)
    steps: list[Any] = [*place.recording.lines]
    lines = [line for line in steps if len(line) == _LINE][: place.number + 1]
    again.run([again.step(line[0], str(place.recording.path)) for line in lines])
    _explain(report, again, place, row)


def _explain(report: Report, host: WiringHost, place: _Place, row: tuple[int, int, int, int]) -> None:
    """Add to a mismatch of this step what maps its page, and both queues, as the model has them."""
    for i, mismatch in enumerate(report.first):
        if mismatch.where != place.where or not mismatch.step.startswith(place.text):
            continue
        shown = [f"entry found: {host.entry(row[1])}"]
        for name, queue in host.queues().items():
            shown.append(f"{name} found, head first: {queue[:_SHOWN]}{' ...' if len(queue) > _SHOWN else ''}")
        if not any(line.startswith("entry found") for line in mismatch.detail):
            detail = (*mismatch.detail, *shown)
            report.first[i] = Mismatch(
                mismatch.where, mismatch.step, mismatch.name, mismatch.expected, mismatch.found, detail
            )
