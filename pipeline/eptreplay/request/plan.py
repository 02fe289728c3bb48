"""Plans: what `replay` is asked for, as a TOML file, and what it is to be repeated for.

A key is the name of an option, so every option is in plans as soon as it is declared. The table `sweep` has several values of
options; each combination is a run of its own.
"""

from __future__ import annotations

import difflib
import itertools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eptreplay.errors import UsageError
from eptreplay.request.effects import without_effect
from eptreplay.request.given_value import ValueRefusedError, read_value
from eptreplay.request.plan_lines import Lines, lines_of
from eptreplay.request.replay import REPLAY, ReplayRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SWEEP = "sweep"
MOST_RUNS = 10_000
"""The most runs of a sweep; more is a mistake, or several plans."""

MOST_BYTES = 1 << 20
"""The largest plan; what is larger is no plan."""


class PlannedRun(NamedTuple):
    """One run of a plan.

    Args:
        name: of its combination of the sweep; empty where nothing is swept.
        request: what it is asked for; `out` is its own.
        swept: its values of the options that are swept, as they are given.
    """

    name: str
    request: ReplayRequest
    swept: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan that has been read: what every run of it is asked for.

    Args:
        file: its name, as it was given.
        lines: where everything stands in it.
        runs: in the order of the sweep, whose last key changes fastest.
    """

    file: str
    lines: Lines
    runs: tuple[PlannedRun, ...]

    def error(self, run: PlannedRun, name: str, why: str, value: object = None) -> UsageError:
        """Return the error of an option's value in one of the runs, with its line."""
        swept = run.swept.get(name)
        path, value = (
            ((SWEEP, name), swept if value is None else value) if name in run.swept else ((name,), value)
        )
        return UsageError(f"{self.file}:{self.lines.of(path, value)}: {name}: {why}")


def read_plan(file: Path, **instead: Any) -> Plan:  # noqa: ANN401 - values of options, as a request holds them
    """Read a plan and check all values that can be checked without traces and profiles.

    Args:
        file: of the plan.
        instead: values that stand in the place of the plan's, by option: those of the command line.

    Raises:
        UsageError: the file cannot be read, or something in it is wrong; with the line.
    """
    text = _text(file)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{_at(file, text, str(error))}; a plan is a TOML file, see docs/plans.md"
        ) from error
    lines = lines_of(text)
    sweep = found.pop(SWEEP, {})
    if not isinstance(sweep, dict):
        raise UsageError(f"{file}:{lines.of((SWEEP,))}: {SWEEP} is a table, as in [{SWEEP}]")
    common = _values(file, lines, found, ()) | instead
    swept = {
        name: _choices(file, lines, name, each) for name, each in _named(file, lines, sweep, (SWEEP,)).items()
    }
    for name in swept:
        if name in common and name not in instead:
            raise UsageError(
                f"{file}:{lines.of((name,))}: {name} is in [{SWEEP}] too; give it in one place alone"
            )
    if "traces" not in common | swept:
        raise UsageError(f'{file}: has no traces; name them, as in traces = ["traces/*.parquet"]')
    plan = Plan(str(file), lines, tuple(_runs(file, lines, common, swept)))
    for run in plan.runs:
        _check(plan, run)
    return plan


def _text(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            content = handle.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); give a plan, a TOML file") from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{file}: has more than {MOST_BYTES:,} bytes and is no plan")
    try:
        return content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{file}:{line}: is not UTF-8 text; a plan is a TOML file") from error


def _at(file: Path, text: str, message: str) -> str:
    """Return an error of tomllib with its line where all errors of plans have it."""
    where = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message)
    if where is None:
        return f"{file}: {message}"
    if where[2] is None:
        return f"{file}:{max(1, len(text.splitlines()))}: {where[1]} at the end"
    return f"{file}:{where[2]}: {where[1]} (column {where[3]})"


def _named(file: Path, lines: Lines, found: Mapping[str, Any], table: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of a table by the names of options.

    Raises:
        UsageError: a key is none, stands twice, or may not be in a plan.
    """
    named: dict[str, Any] = {}
    for key, value in found.items():
        name = key.replace("-", "_")
        where = f"{file}:{lines.of((*table, name))}"
        if name not in REPLAY:
            near = difflib.get_close_matches(name, [*REPLAY, SWEEP], 1)
            hint = f"; did you mean {near[0]}?" if near else "; docs/options.md has all of them"
            raise UsageError(f"{where}: {key!r:.60} is no option of a replay{hint}")
        if not REPLAY[name].declared.in_plan:
            raise UsageError(f"{where}: {name} is for the command line alone; leave it out of the plan")
        if name in named:
            raise UsageError(f"{where}: {name} stands there twice, once with hyphens; leave one out")
        named[name] = value
    return named


def _values(file: Path, lines: Lines, found: Mapping[str, Any], table: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of a table, as a request holds them."""
    return {
        name: _value(file, lines, name, value, table)
        for name, value in _named(file, lines, found, table).items()
    }


def _value(file: Path, lines: Lines, name: str, given: object, table: tuple[str, ...]) -> Any:  # noqa: ANN401 - of the option's type
    try:
        return read_value(REPLAY[name], given)
    except ValueRefusedError as error:
        line = lines.of((*table, name), error.value)
        raise UsageError(f"{file}:{line}: {name}: {error}") from error


def _choices(file: Path, lines: Lines, name: str, given: object) -> list[tuple[Any, Any]]:
    """Return the values of an option that is swept: as they are given, and as a request holds them."""
    if name == "out":
        raise UsageError(
            f"{file}:{lines.of((SWEEP, name))}: out: every run of a sweep has a folder of its own in out already"
        )
    if not isinstance(given, list) or not given:
        raise UsageError(f"{file}:{lines.of((SWEEP, name))}: {name}: give a list of the values to be tried")
    return [(each, _value(file, lines, name, each, (SWEEP,))) for each in given]


def _runs(
    file: Path, lines: Lines, common: Mapping[str, Any], swept: Mapping[str, list[tuple[Any, Any]]]
) -> Iterator[PlannedRun]:
    """Yield every combination of what is swept as a run."""
    count = 1
    for choices in swept.values():
        count *= len(choices)
    if count > MOST_RUNS:
        raise UsageError(
            f"{file}:{lines.of((SWEEP,))}: {SWEEP} has {count:,} combinations, more than {MOST_RUNS:,}"
        )
    out = Path(common.get("out", REPLAY["out"].default))
    known: dict[str, int] = {}
    for values in itertools.product(*swept.values()):
        given = {name: value[0] for name, value in zip(swept, values, strict=True)}
        asked = {**common, **{name: value[1] for name, value in zip(swept, values, strict=True)}}
        name = _name(given)
        known[name] = known.get(name, 0) + 1
        if known[name] > 1:
            name = f"{name}-{known[name]}"
        if name:
            asked["out"] = out / name
        yield PlannedRun(name, ReplayRequest(**asked, given=frozenset(asked)), given)


def _name(given: Mapping[str, Any]) -> str:
    """Return the name of a combination, harmless as the name of a folder."""
    parts = []
    for name, value in given.items():
        text = "+".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.append(f"{name}={re.sub(r'[^A-Za-z0-9._+=-]+', '-', text):.48}")
    return ",".join(parts)[:180]


def _check(plan: Plan, run: PlannedRun) -> None:
    """Refuse values that mean nothing, and options without effect, with their line.

    Raises:
        UsageError: there is one.
    """
    for name in run.request.given:
        try:
            # Of the host's options some are looked at only where there is a host.
            ReplayRequest(
                **{"traces": ("trace",), "check_conservation": True, name: getattr(run.request, name)}
            ).options()
        except UsageError as error:
            raise plan.error(run, name, str(error)) from error
    useless = without_effect(run.request)
    if useless is not None:
        raise plan.error(run, useless.name, f"needs {useless.what}")


def plan_text(request: ReplayRequest) -> str:
    """Return the plan of a request: what was given, and nothing else.

    Raises:
        UsageError: a value cannot be written in a plan.
    """
    lines = ["# A plan: carried out by eptreplay batch; docs/plans.md says what may stand here.\n"]
    for name, option in REPLAY.items():
        value = getattr(request, name)
        given = option.required or name in request.given or value != option.default
        if given and option.declared.in_plan:
            lines.append(f"{name} = {_toml(value)}\n")
    return "".join(lines)


def _toml(value: object) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    text = str(value)
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UsageError(f"{text!r:.60}: is not UTF-8 and cannot stand in a plan; rename it")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"'
        + "".join(
            f"\\u{ord(letter):04x}" if ord(letter) < 0x20 or ord(letter) == 0x7F else letter
            for letter in escaped
        )
        + '"'
    )
