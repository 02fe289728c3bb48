"""What a comparison with a real kernel's answers found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first place where an answer differs.

    Args:
        where: the file and the sequence, or the golden file.
        step: the operation, entry, page or row.
        name: the field.
        expected: what the kernel answered.
        found: what the model answers.
        detail: more lines that help to see why; may be empty.
    """

    where: str
    step: str
    name: str
    expected: int | str
    found: int | str
    detail: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """How much was compared, and what differed.

    Args:
        sequences: sequences of vectors, or golden files.
        operations: operations, or rows of traces counted once a golden file.
        values: single values compared.
        mismatches: values that differ.
        releases: the releases of the kernels that answered, as the recordings name them.
        first: the first mismatch of every sequence or file that has one.
    """

    sequences: int = 0
    operations: int = 0
    values: int = 0
    mismatches: int = 0
    releases: set[str] = field(default_factory=set)
    first: list[Mismatch] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Add what another comparison found."""
        self.sequences += other.sequences
        self.operations += other.operations
        self.values += other.values
        self.mismatches += other.mismatches
        self.releases |= other.releases
        self.first += other.first

    def compare(self, where: str, step: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Compare values by name; lists element by element.  Only the first mismatch of a place is kept."""
        for name, value in expected.items():
            pairs = [(value, found.get(name, -1))]
            if isinstance(value, list):
                pairs = _pairs(value, found.get(name, []))
            for wanted, seen in pairs:
                self.values += 1
                if wanted != seen:
                    self.mismatches += 1
                    if not any(mismatch.where == where for mismatch in self.first):
                        self.first.append(Mismatch(where, step, name, wanted, seen))

    def compare_lists(
        self, where: str, step: str, name: str, expected: Sequence[Any], found: Sequence[Any]
    ) -> None:
        """Compare two lists, entry by entry; with the first mismatch of a place both are shown around it."""
        length = max(len(expected), len(found))
        self.values += length
        wrong = [
            i
            for i in range(length)
            if (expected[i] if i < len(expected) else None) != (found[i] if i < len(found) else None)
        ]
        self.mismatches += len(wrong)
        if wrong and not any(mismatch.where == where for mismatch in self.first):
            detail = (_around("expected", expected, wrong[0]), _around("found   ", found, wrong[0]))
            self.first.append(
                Mismatch(
                    where,
                    f"{step}, {name} {wrong[0]}",
                    f"length of {name}",
                    len(expected),
                    len(found),
                    detail,
                )
            )

    def compare_lines(
        self, where: str, lines: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]
    ) -> None:
        """Compare the lines of counters of a recorded replay, the last, if it says so, with the end of the replay."""
        if len(found) < len(lines):
            self.mismatches += 1
            self.first.append(Mismatch(where, "whole file", "checkpoints", len(lines), len(found)))
        for number, line in enumerate(lines):
            values = found[-1] if line["at"] == "end" else found[min(number, len(found) - 1)]
            expected = {name: value for name, value in line.items() if name != "at"}
            self.compare(where, f"row {line['rows']:,}", expected, values)


AROUND = 3
"""Entries that are shown of a list before and after the first one that differs."""


def _around(word: str, entries: Sequence[Any], at: int) -> str:
    """Return the entries of a list around one of them, as text."""
    shown = [f"{i}: {entries[i]}" for i in range(max(0, at - AROUND), min(len(entries), at + AROUND + 1))]
    return f"{word} {'  '.join(shown) or 'nothing there'}"


def _pairs(expected: Sequence[int], found: Sequence[int]) -> list[tuple[int, int]]:
    """Return two lists element by element; what one of them lacks is -1."""
    length = max(len(expected), len(found))
    return [
        (expected[i] if i < len(expected) else -1, found[i] if i < len(found) else -1) for i in range(length)
    ]


def report_of(
    paths: Iterable[Path], check: Callable[[Path], Report], on_rows: Callable[[str, int], None] | None
) -> Report:
    """Compare recordings one after the other; return what was found in all of them.

    Args:
        paths: the recordings.
        check: compares one.
        on_rows: called with the name of what is replayed, and how many more steps of it are done.
    """
    report = Report()
    for path in paths:
        found = check(path)
        report.add(found)
        if on_rows is not None:
            on_rows(path.name, found.operations)
    return report
