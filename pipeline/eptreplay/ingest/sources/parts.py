"""Do guests look like parts of one?"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace

FEWEST = 10
"""So many files of one folder, whose names differ in a number only, look like parts."""


def like_parts(traces: Sequence[GuestTrace]) -> str:
    """Return a hint if guests of one file each look like the parts of one guest, one after the other; empty if not.

    They do if there are ten in a folder whose names differ in numbers only, and no two of them are known to overlap in time:
    guests that ran side by side do.
    """
    alike: dict[tuple[str, str], list[GuestTrace]] = {}
    for trace in traces:
        if len(trace.files) == 1:
            path = trace.files[0]
            alike.setdefault((str(path.parent), re.sub(r"[0-9]+", "#", path.name)), []).append(trace)
    for (folder, _), members in alike.items():
        if len(members) >= FEWEST and _may_follow(members):
            return (
                f"{len(members)} files like {members[0].files[0].name} in {folder} look like parts of one guest, but each is taken "
                "for a guest of its own; if they are parts, put them into a folder guest=NAME/"
            )
    return ""


def _may_follow(traces: Sequence[GuestTrace]) -> bool:
    """Return whether no two traces overlap in time, as far as is known."""
    spans = [(trace.first_time, trace.last_time) for trace in traces]
    known = sorted((first, last) for first, last in spans if first is not None and last is not None)
    return all(one[1] <= other[0] for one, other in pairwise(known))
