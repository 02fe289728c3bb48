"""Whose fault it is that a host of several guests cannot be replayed: errors that name the guest they are about."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from eptreplay.errors import SharedHostError, TraceError
from eptreplay.ingest.times import why_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.ingest.dataset import GuestTrace
    from eptreplay.ingest.reader import Batch


@contextmanager
def naming(trace: GuestTrace) -> Iterator[None]:
    """Name the guest that whatever is raised inside is about, so that the host's end is told as its fault.

    Raises:
        SharedHostError: instead of anything else.
    """
    try:
        yield
    except SharedHostError:
        raise
    except Exception as error:
        raise SharedHostError(trace.name, error) from error


def naming_one_of(traces: Sequence[GuestTrace], trace: GuestTrace) -> AbstractContextManager[None]:
    """Name a guest as `naming` does, where there are others it could be about."""
    return naming(trace) if len(traces) > 1 else nullcontext()


def naming_batches(trace: GuestTrace, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield a guest's batches, and name it where they end in an error."""
    with naming(trace):
        yield from batches


def untimed(trace: GuestTrace) -> TraceError:
    """Return why a trace cannot be placed on the host's clock."""
    return TraceError(
        str(trace.files[0]),
        why_unknown(trace),
        column="time",
        advice="correct the trace, or leave it out: guests of one host are put in the order of their times",
    )
