"""The command `synth`: the trace of a made-up guest."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from eptreplay.cli.console import ProgressBar, note, say
from eptreplay.errors import Exit, UsageError
from eptreplay.ingest.sources.guest_config import FILE_NAME, load_guest_config
from eptreplay.ingest.synth.example import EXAMPLE
from eptreplay.ingest.synth.make import write_guest
from eptreplay.ingest.synth.read_guest import read_guest
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from pathlib import Path

_DEVICE = 'passthrough = [{ name = "made-up" }]'


def synth(source: Path | None, out: Path | None, *, overwrite: bool, print_example: bool) -> int:
    """Carry out `synth` and return the exit code."""
    if print_example:
        if source is not None or out is not None or overwrite:
            raise UsageError("--print-example prints, and makes no trace; give it alone")
        sys.stdout.write(EXAMPLE)  # a file, whatever the width of the terminal
        return Exit.GOOD
    if source is None or out is None:
        raise UsageError(
            "give a made-up guest and the trace to write, as in 'eptreplay synth guest.toml -o guest.parquet'; "
            "'eptreplay synth --print-example' prints a guest to begin with"
        )
    guest = read_guest(source)
    if guest.has_dma() and not load_guest_config(out.parent, out.stem).devices:
        raise UsageError(
            f"{source}: a passthrough device accesses memory, and {out.parent / FILE_NAME} has none; "
            f"write there: {_DEVICE}"
        )
    with ProgressBar(guest.rows, "rows", "making up") as bar:
        rows = write_guest(out, guest, bar.advance, overwrite=overwrite)
    say(f"{out}: {rows:,} rows, {guest.vcpus} vCPUs, memory {binary_size(guest.memory)}, seed {guest.seed}")
    if rows > guest.rows:
        note(f"{rows - guest.rows:,} of the rows say that a vCPU begins or ceases to run")
    return Exit.GOOD
