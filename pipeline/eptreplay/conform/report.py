"""What a comparison with a real kernel's answers found."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    expected: int
    found: int
    detail: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """How much was compared, and what differed.

    Args:
        sequences: sequences of vectors, or golden files.
        operations: operations, or rows of traces counted once a golden file.
        values: single values compared.
        mismatches: values that differ.
        first: the first mismatch of every sequence or file that has one.
    """

    sequences: int = 0
    operations: int = 0
    values: int = 0
    mismatches: int = 0
    first: list[Mismatch] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Add what another comparison found."""
        self.sequences += other.sequences
        self.operations += other.operations
        self.values += other.values
        self.mismatches += other.mismatches
        self.first += other.first
