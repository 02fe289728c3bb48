"""What pages say of traces that do not have everything as it was: faults only, virtual addresses, no times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.report.read.numbers import count, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = "approximated"
"""Key of a trace's metadata, as run.json has it; what is approximated stands there with "; " between."""
NO_TIMES = "no times"
"""How it begins where the number of an access stands for its time."""
NAMED = 3


def approximated(guest: Mapping[str, Any]) -> str:
    """Return what the trace of a guest does not have as it was, as a sentence; empty if nothing says so.

    Args:
        guest: as run.json describes it.
    """
    found = guest["about"].get(KEY, "").strip()
    return f"Approximated: {found}." if found else ""


def has_times(guest: Mapping[str, Any]) -> bool:
    """Return whether the trace of a guest has times of its own.

    Args:
        guest: as run.json describes it.
    """
    parts = guest["about"].get(KEY, "").split("; ")
    return not any(part.strip().startswith(NO_TIMES) for part in parts)


def approximated_of(guests: Sequence[Mapping[str, Any]]) -> str:
    """Return which guests have traces that do not have everything as it was; empty if none has.

    Args:
        guests: as run.json describes them.
    """
    names = [str(about["name"]) for about in guests if approximated(about)]
    if not names:
        return ""
    if len(guests) == 1:
        return approximated(guests[0])
    rest = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return (
        f"Approximated traces of {count(len(names), 'guest')} ({listed([*names[:NAMED], *rest])}): their pages say what "
        "they do not have as it was."
    )
