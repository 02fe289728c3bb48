"""Every error that eptreplay raises on purpose, and the exit code each one ends in."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line."""

    GOOD = 0
    DIFFERENCES = 1
    BAD_INPUT = 2
    SOME_FAILED = 3
    INTERRUPTED = 130


class EptReplayError(Exception):
    """The root of all errors that eptreplay raises on purpose."""

    exit_code = Exit.BAD_INPUT


class UsageError(EptReplayError):
    """The command cannot be carried out as it was given: an option, a name, a path."""


class TraceError(EptReplayError):
    """A trace, or a part of one, is not what the format says.

    Args:
        file: path of the file, as the user gave it.
        found: what is there.
        expected: what the format asks for; empty when there is nothing to add.
        advice: what to do next; empty when there is nothing to add.
        column: name of the column, if the fault is in one.
        row_group: number of the row group from 0, if the fault is in one.
        row: number of the row in the file from 0, if the fault is in one.
    """

    def __init__(
        self,
        file: str,
        found: str,
        *,
        expected: str = "",
        advice: str = "",
        column: str | None = None,
        row_group: int | None = None,
        row: int | None = None,
    ) -> None:
        self.file = file
        self.found = found
        self.expected = expected
        self.advice = advice
        self.column = column
        self.row_group = row_group
        self.row = row
        where = [file]
        if row_group is not None:
            where.append(f"row group {row_group}")
        if row is not None:
            where.append(f"row {row:,}")
        if column is not None:
            where.append(f"column '{column}'")
        parts = [", ".join(where) + f": {found}"]
        if expected:
            parts.append(f"expected {expected}")
        if advice:
            parts.append(advice)
        super().__init__("; ".join(parts))


class ConservationError(EptReplayError):
    """A law that the host's memory must obey was found broken: a fault of eptreplay itself."""

    exit_code = Exit.DIFFERENCES


class OutputError(EptReplayError):
    """A result cannot be written where the user wants it."""


class RenderError(EptReplayError):
    """Not one page of a run can be made: what went wrong with the first."""


class NoGuestError(EptReplayError):
    """None of several guests can be replayed or checked: a line for each."""


class SharedHostError(EptReplayError):
    """A guest of a host that several share raised something, which ends all of them.

    Args:
        guest: whose trace or rows raised it.
        error: what it raised.
    """

    def __init__(self, guest: str, error: Exception) -> None:
        self.guest = guest
        self.error = error
        super().__init__(f"guest '{guest}': {error}")
