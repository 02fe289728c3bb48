"""Output for people: lines that fit the terminal, and progress.

All that commands print passes through `say` and `note`, and there through `safe_text`: whatever a file name, a trace or
somebody else's run holds, a terminal gets text that is safe to show.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
import threading
from typing import TYPE_CHECKING

from tqdm import tqdm

from eptreplay.safe_text import columns_of, is_wide, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

NARROWEST = 20
"""Columns of the narrowest terminal for which lines are broken."""
GAP = "  "
TIE = "\N{NO-BREAK SPACE}"
SECOND_COLUMN = "\ue000"
"""Stands for the second column of a wide character while lines are broken; no printable text holds it."""


def width() -> int | None:
    """Return the columns of the terminal, or the value of COLUMNS; None where the output is not a terminal and lines may be long."""
    columns = shutil.get_terminal_size((0, 0)).columns
    return columns if columns >= NARROWEST else None


def say(text: str = "") -> None:
    """Write a line to standard output."""
    sys.stdout.write(printable(text) + "\n")


def note(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"eptreplay: {printable(text)}\n")


def say_all(lines: Sequence[str]) -> None:
    """Write lines; those too long for the terminal are wrapped, with the continuation further indented."""
    columns = width()
    for line in map(printable, lines):
        if columns is None or columns_of(line) <= columns:
            say(line)
            continue
        indent = line[: len(line) - len(line.lstrip())]
        for part in _broken(line.strip(), columns, indent, f"{indent}    "):
            say(part)


def say_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table; in a terminal too narrow for it, one paragraph per row: its first two cells, then the others by name."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(columns_of(row[column]) for row in (header, *rows)) for column in range(len(header))]
    columns = width()
    if columns is None or sum(widths) + len(GAP) * (len(widths) - 1) <= columns:
        for row in (header, *rows):
            say(GAP.join(_padded(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip())
        return
    for first, second, *rest in rows:
        say_all([f"{first}: {second}"])
        named = [
            f"{name} {cell}".replace(" ", TIE)
            for name, cell in zip(header[2:], rest, strict=True)
            if cell != "-"
        ]
        for line in _broken(", ".join(named), columns, GAP, GAP):
            say(line.replace(TIE, " "))


def _padded(text: str, columns: int) -> str:
    """Return printable text padded with blanks to so many columns."""
    return text + " " * (columns - columns_of(text))


def _broken(text: str, columns: int, first: str, rest: str) -> list[str]:
    """Return printable text in lines of at most so many columns, indented by `first`, then by `rest`."""
    as_wide_as_shown = "".join(
        character + SECOND_COLUMN if is_wide(character) else character for character in text
    )
    lines = textwrap.wrap(as_wide_as_shown, columns, initial_indent=first, subsequent_indent=rest)
    return [line.replace(SECOND_COLUMN, "") for line in lines]


class ProgressBar:
    """Rows (or operations) done, the rate, and the time left; silent unless standard error is a terminal."""

    def __init__(self, total: int | None, unit: str, title: str = "") -> None:
        self._lock = threading.Lock()
        self._bar = _bar(total, unit, title)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, count: int) -> None:
        """Count `count` more; may be called from any thread."""
        with self._lock:
            self._bar.update(count)

    def begin(self, total: int, unit: str, title: str) -> None:
        """Start again from zero, for something else."""
        with self._lock:
            self._bar.close()
            self._bar = _bar(total, unit, title)

    def name(self, title: str) -> None:
        """Set what the bar says is being done."""
        with self._lock:
            self._bar.set_description(printable(title), refresh=False)


def _bar(total: int | None, unit: str, title: str) -> tqdm:
    return tqdm(
        total=total,
        desc=printable(title) or None,
        unit=f" {unit}",
        unit_scale=True,
        disable=None,
        dynamic_ncols=True,
        leave=False,
    )
