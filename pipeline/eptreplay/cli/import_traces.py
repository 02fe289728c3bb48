"""The command `import`: other tools' traces turned into native ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay.cli.console import ProgressBar, note, say, say_all, say_table
from eptreplay.errors import Exit, UsageError
from eptreplay.ingest.importers.registry import AUTO, FORMATS, format_named, format_of
from eptreplay.ingest.importing.convert import Task, convert, memory_for
from eptreplay.ingest.importing.inputs import STANDARD_INPUT, open_input, shown_name
from eptreplay.ingest.importing.options import IMPORT_OPTIONS
from eptreplay.ingest.logs.page_map import read_page_map
from eptreplay.units import PAGE_BYTES, binary_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.cli.import_options import ImportRequest
    from eptreplay.ingest.importing.convert import Outcome
    from eptreplay.ingest.importing.dropped import Reason
    from eptreplay.ingest.importing.format import Format, Opened
    from eptreplay.ingest.importing.inputs import Input
    from eptreplay.ingest.importing.memory import Memory


def import_traces(request: ImportRequest) -> int:
    """Carry out `import` and return the exit code."""
    if request.list_formats:
        list_formats()
        return Exit.GOOD
    if request.format is None or not request.inputs or request.out is None:
        raise UsageError(
            "give a format, one input or several, and the trace to write, as in 'eptreplay import lackey mem.log -o mem.parquet'; "
            "'eptreplay import --list' shows the formats"
        )
    _refuse_inputs(request.inputs, request.out)
    with open_input(request.inputs[0]) as first:
        found = _format(request.format, first, shown_name(request.inputs[0]))
        options = _options(found, request.options)
        opened = found.open_with(options, first.head()) if found.open_with else found.open(options)
        memory = _memory(request, found, opened)
        with ProgressBar(_total(request.inputs), "B", f"importing {found.name}") as bar:
            skip = request.on_bad_rows == "skip"
            task = Task(found, opened, request.inputs, first, memory, skip, bar.advance)
            outcome = convert(task, request.out, overwrite=request.overwrite)
    _say_outcome(request.out, found, outcome)
    return Exit.GOOD


def list_formats() -> None:
    """Print the formats that can be imported."""
    rows = [
        (
            each.name,
            "refused" if each.refused else "yes" if each.guess else "no",
            " ".join(f"--{option.name}" for option in IMPORT_OPTIONS if option.name in each.options) or "-",
            each.title,
        )
        for each in FORMATS
    ]
    say_table(("FORMAT", AUTO.upper(), "OPTIONS", "WHAT WRITES IT"), rows)
    say_all(["", *(f"{each.name}: {each.refused}" for each in FORMATS if each.refused)])


def _refuse_inputs(inputs: Sequence[str], out: Path) -> None:
    """Refuse inputs that cannot be read one after the other into the output."""
    if "" in inputs:
        raise UsageError("a path is empty; an unset shell variable?")
    if inputs.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input (-) can be read once only")
    for name in inputs:
        path = Path(name)
        if name != STANDARD_INPUT and path.exists() and out.exists() and path.samefile(out):
            raise UsageError(f"{name}: the input cannot be the output too; give another name after -o")


def _format(name: str, first: Input, shown: str) -> Format:
    """Return the format that is named, or that the content of the first input is."""
    if name != AUTO:
        return format_named(name)
    found = format_of(first.head(), shown)
    note(f"{shown} is read as {found.name}: {found.title}")
    return found


def _options(found: Format, given: Mapping[str, str]) -> Mapping[str, str]:
    """Return the options of a format; one that is none of it is refused."""
    for option in IMPORT_OPTIONS:
        if option.name not in given:
            continue
        if option.name not in found.options:
            users = [each.name for each in FORMATS if option.name in each.options]
            raise UsageError(
                f"--{option.name} has no effect on {found.name}; it is an option of {', '.join(users) or 'no format'}"
            )
        if option.choices and given[option.name] not in option.choices:
            raise UsageError(
                f"--{option.name} is '{given[option.name]}'; give one of {', '.join(option.choices)}"
            )
    return given


def _memory(request: ImportRequest, found: Format, opened: Opened) -> Memory:
    """Return where addresses lie; options that change nothing about it are refused."""
    virtual = opened.origin.virtual
    if request.dense and virtual:
        raise UsageError(
            f"--dense has no effect on {found.name}: its virtual pages are numbered by first touch anyway"
        )
    if request.page_map is not None:
        if not virtual or request.dense:
            raise UsageError(f"--page-map has no effect on {found.name}: its addresses are physical")
        return read_page_map(str(request.page_map), request.page_bytes or PAGE_BYTES)
    if request.page_bytes and not virtual and not request.dense:
        raise UsageError(
            f"--page-bytes has no effect on {found.name}: its addresses are physical; it goes with --dense"
        )
    return memory_for(opened, dense=request.dense, page_bytes=request.page_bytes or PAGE_BYTES)


def _total(inputs: Sequence[str]) -> int | None:
    """Return the bytes of all inputs, where they are known."""
    try:
        sizes = [os.stat(name).st_size for name in inputs if name != STANDARD_INPUT]  # noqa: PTH116 - names as they are
    except OSError:
        return None
    return sum(sizes) if len(sizes) == len(inputs) and all(sizes) else None


def _say_outcome(out: Path, found: Format, outcome: Outcome) -> None:
    """Print what was imported, what was not, and what the trace does not have as it was."""
    seen, dropped = outcome.seen, outcome.dropped
    memory = f"; {seen.vcpus} vCPU{'s' if seen.vcpus > 1 else ''}"
    say(
        f"{out}: {seen.records:,} records of {found.name}, {seen.rows:,} rows{memory}, memory {binary_size(outcome.memory_bytes)}"
    )
    lines = [*_reasons("no access", dropped.on_purpose), *_reasons("bad", dropped.bad)]
    say_all(lines or ["  nothing was left out"])
    say_all([f"  approximated: {each}" for each in outcome.approximated])


def _reasons(kind: str, reasons: Mapping[str, Reason]) -> list[str]:
    return [
        f"  left out, {kind}: {each.records:,} {reason}; the first: {each.first}"
        for reason, each in reasons.items()
    ]
