"""The command `export`: a native trace turned into one for another tool."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

from eptreplay.cli.console import say
from eptreplay.errors import Exit, UsageError
from eptreplay.ingest.exporters.registry import export_named
from eptreplay.ingest.native.whole_file import whole_file
from eptreplay.ingest.sources.dataset import find_traces


def export_trace(name: str, spec: str, out: Path, *, overwrite: bool) -> int:
    """Carry out `export` and return the exit code."""
    export = export_named(name)
    traces = find_traces([spec])
    if len(traces) != 1:
        raise UsageError(
            f"{spec}: {len(traces)} guests are there, and a file for another tool holds one; name a file of one guest"
        )
    local = [file for file in traces[0].files if isinstance(file, Path)]
    if any(file.exists() and out.exists() and file.samefile(out) for file in local):
        raise UsageError(f"{out}: the trace cannot be the output too; give another name after -o")
    with whole_file(out, overwrite=overwrite) as file:
        written = export.write(traces[0], cast("BinaryIO", file))
    say(f"{out}: {written:,} records of {export.title}, of {traces[0].rows:,} rows")
    if export.lost:
        say(f"  not in it: {export.lost}")
    return Exit.GOOD
