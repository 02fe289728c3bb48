"""The command `conform`: replay what a real kernel did, and say where the model differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay import conform as conformance
from eptreplay.cli.console import ProgressBar, say
from eptreplay.conform.kinds import FRAME_TRACES, GOLDEN, PAGEOUT, VECTORS
from eptreplay.errors import Exit, UsageError
from eptreplay.request.option import ALWAYS, flag_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from eptreplay.conform import Mismatch

CONFORM: Mapping[str, frozenset[str] | None] = {
    "folder": ALWAYS,
    "traces": frozenset({FRAME_TRACES, GOLDEN, PAGEOUT}),
    "sequence": frozenset({VECTORS}),
    "slow_path": frozenset({GOLDEN}),
    "tlb": frozenset({GOLDEN}),
}
"""By option, the kinds of recordings that it has an effect on; a folder holds one of them, or is refused."""


def conform(
    folder: Path,
    traces: Path | None,
    only: frozenset[int] | None,
    *,
    slow_path: bool = False,
    tlb: bool = False,
    given: frozenset[str] = frozenset(),
) -> int:
    """Carry out `conform` and return the exit code; `given` names the options on the command line."""
    kinds = conformance.kinds_in(folder)
    if kinds:
        _refuse_without_recordings(given, str(folder), kinds)
    with ProgressBar(None, "operations") as bar:

        def on_rows(name: str, count: int) -> None:
            bar.name(name)
            bar.advance(count)

        report = conformance.check(folder, traces, only=only, slow_path=slow_path, tlb=tlb, on_rows=on_rows)
    for mismatch in report.first:
        _say_mismatch(mismatch)
    for release in sorted(report.releases):
        say(f"release    {release}")
    say(f"sequences  {report.sequences:,}")
    say(f"operations {report.operations:,}")
    say(f"compared   {report.values:,} values")
    say(f"mismatches {report.mismatches:,}")
    return Exit.DIFFERENCES if report.mismatches else Exit.GOOD


def _say_mismatch(mismatch: Mismatch) -> None:
    """Say where a sequence first differs."""
    say(f"{mismatch.where}: {mismatch.step}")
    for word, value in (("expected", mismatch.expected), ("found", mismatch.found)):
        shown = f" ({value & (1 << 64) - 1:#x})" if isinstance(value, int) else ""
        say(f"  {mismatch.name} {word:8} {value}{shown}")
    for line in mismatch.detail:
        say(f"  {line}")


def _refuse_without_recordings(given: frozenset[str], folder: str, kinds: frozenset[str]) -> None:
    """Refuse an option that was given and would change nothing for a folder with recordings of these kinds.

    Raises:
        UsageError: there is one; names what it needs.
    """
    for name, needed in CONFORM.items():
        if name in given and needed is not None and not needed & kinds:
            what = " or ".join(sorted(needed))
            raise UsageError(
                f"{flag_of(name)} needs {what}; {folder} holds {' and '.join(sorted(kinds)) or 'none'}"
            )
