"""Errors of a host with several guests: which guest is the reason that the host cannot be replayed."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from eptreplay.errors import SharedHostError, TraceError
from eptreplay.ingest.sources.times import why_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.ingest.native.reader import Batch
    from eptreplay.ingest.trace.guest_trace import GuestTrace


@contextmanager
def naming(trace: GuestTrace) -> Iterator[None]:
    """Name the guest that is the reason for whatever is raised inside.

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
    """Do what `naming` does, unless the trace is the only one."""
    return naming(trace) if len(traces) > 1 else nullcontext()


def naming_batches(trace: GuestTrace, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield the batches of a guest, and name the guest where they end in an error."""
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
