"""Guests that could not be replayed: the cause on one line, and the file with its details."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import EptReplayError, NoGuestError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FOLDER = "failures"


@dataclass(frozen=True, slots=True)
class Failure:
    """A guest that could not be replayed, and why.

    Args:
        guest: its name, as it was given: not to be trusted.
        error: what was raised.
        host: guests on its host, all of which are lost; 1: it has a host of its own.
        details: the file in the folder of the run that says where a fault of eptreplay itself occurred; empty: none.
    """

    guest: str
    error: Exception
    host: int = 1
    details: str = ""

    @property
    def is_our_fault(self) -> bool:
        """Whether neither the trace nor the machine explains the error."""
        return not isinstance(self.error, (EptReplayError, MemoryError, OSError))

    def message(self) -> str:
        """Return what went wrong and what to do next, on one line."""
        shared = f"; it shares a host with {self.host - 1} more, none of which is replayed without it"
        return f"{self._why()}{shared if self.host > 1 else ''}"

    def _why(self) -> str:
        error = " ".join(str(self.error).split())
        if isinstance(self.error, EptReplayError):
            return str(self.error)
        if isinstance(self.error, MemoryError):
            said = f" ({error})" if error else ""
            return f"out of memory{said}; replay it alone, under fewer profiles, or on a machine with more"
        if isinstance(self.error, OSError):
            return f"the system refused to go on ({error}); see to that and replay it again"
        where = f" with {self.details}, which says where it occurred," if self.details else ""
        return (
            f"a fault of eptreplay itself: {type_name(self.error)}: {error}; "
            f"please report it{where} to the project"
        )


class ToldError(EptReplayError):
    """What a guest raised before, or in another process, in the words in which it was told."""


class ToldFault(Exception):  # noqa: N818 - the fault is ours, and has a name of its own
    """A fault of eptreplay itself that occurred before, or in another process.

    Args:
        name: type of what was raised.
        text: its text.
        details: its traceback.
    """

    def __init__(self, name: str, text: str, details: str) -> None:
        super().__init__(text)
        self.name = name
        self.details = details


class Told(NamedTuple):
    """A failure as another process, or a later one, can be told of it.

    Args:
        guest: see `Failure`.
        host: see `Failure`.
        kind: `told`, `memory`, `system` or `fault`.
        text: of the error.
        name: type of a fault.
        details: traceback of a fault.
    """

    guest: str
    host: int
    kind: str
    text: str
    name: str = ""
    details: str = ""


def tell(failure: Failure) -> Told:
    """Return a failure as it is told."""
    error = failure.error
    for kind, of in (("told", EptReplayError), ("memory", MemoryError), ("system", OSError)):
        if isinstance(error, of):
            return Told(failure.guest, failure.host, kind, str(error))
    return Told(failure.guest, failure.host, "fault", str(error), type_name(error), details_of(error))


def failure_told(told: Told) -> Failure:
    """Return the failure that was told, with the same message."""
    kinds: dict[str, Exception] = {
        "told": ToldError(told.text),
        "memory": MemoryError(told.text),
        "system": OSError(told.text),
    }
    error = kinds.get(told.kind, ToldFault(told.name, told.text, told.details))
    return Failure(told.guest, error, told.host)


def type_name(error: BaseException) -> str:
    """Return what an error is called."""
    return error.name if isinstance(error, ToldFault) else type(error).__name__


def details_of(error: BaseException) -> str:
    """Return the traceback of an error."""
    if isinstance(error, ToldFault):
        return error.details
    return "".join(traceback.format_exception(error))


def no_guest(failures: Sequence[Failure]) -> EptReplayError:
    """Return the error of a run of which no guest could be replayed: the only one's own, or one that names all."""
    first = failures[0]
    if len(failures) == 1 and first.host == 1 and isinstance(first.error, EptReplayError):
        return first.error
    parts = []
    for failure in failures:
        parts.append(f"guest '{failure.guest}' failed: {failure.message()}")
        if failure.is_our_fault:
            parts.append(details_of(failure.error).rstrip())
    return NoGuestError("\n".join(parts))


def write_details(folder: Path, name: str, error: Exception) -> str:
    """Write where a fault occurred into the folder of a run, and return the file's path in it."""
    (folder / FOLDER).mkdir(exist_ok=True)
    text = details_of(error)
    (folder / FOLDER / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    return f"{FOLDER}/{name}"


def forget_locals(error: BaseException) -> None:
    """Clear the local variables of an error's frames, which would keep the whole state of a guest as long as the error."""
    at: BaseException | None = error
    while at is not None:
        traceback.clear_frames(at.__traceback__)
        at = at.__cause__ or at.__context__
