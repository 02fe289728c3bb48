"""What pages say of traces whose input no checksum guards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.report.read.numbers import count, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMED = 3
CHECKSUMS = (
    "Input verified by page checksums, which guard neither the order of pages nor the metadata; a SHA256SUMS beside the "
    "trace would."
)


GUARDS = ("", "page checksums", "SHA256SUMS")
"""What a trace can be verified by, the weakest first."""


def weaker(first: str | None, second: str | None) -> str | None:
    """Return the weaker of two guards; one that is not known may be as weak as any but none."""
    if GUARDS[0] in {first, second}:
        return GUARDS[0]
    return min(first, second, key=GUARDS.index) if first in GUARDS and second in GUARDS else None


def unverified(guests: Sequence[Mapping[str, Any]]) -> str:
    """Return which guests have unverified input, or that the guard has a gap; empty if all is verified, or not known.

    Args:
        guests: as run.json describes them.
    """
    names = [str(about["name"]) for about in guests if about.get("verified_by") == ""]
    if not names:
        return CHECKSUMS if any(about.get("verified_by") == "page checksums" for about in guests) else ""
    rest = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    whose = f" of {count(len(names), 'guest')} ({listed([*names[:NAMED], *rest])})" if len(guests) > 1 else ""
    return (
        f"Unverified input{whose}: neither page checksums nor a SHA256SUMS beside the trace guard it, so damage may go "
        "unnoticed."
    )
