"""Which options have an effect only beside others: given without them they are refused, not ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import UsageError
from eptreplay.request.replay import REPLAY

if TYPE_CHECKING:
    from eptreplay.request.replay import ReplayRequest


class Useless(NamedTuple):
    """An option that would change nothing, and what it needs, in words."""

    name: str
    what: str


def without_effect(request: ReplayRequest) -> Useless | None:
    """Return an option that was given to `replay` and would change nothing; None if there is none."""
    for name, option in REPLAY.items():
        needs = option.declared.needs
        if name in request.given and needs is not None and not needs.met(request):
            return Useless(name, needs.what)
    return None


def refuse_without_effect(request: ReplayRequest) -> None:
    """Refuse an option that was given to `replay` and would change nothing.

    Raises:
        UsageError: there is one; names what it needs.
    """
    useless = without_effect(request)
    if useless is not None:
        raise UsageError(f"{REPLAY[useless.name].flag} needs {useless.what}")
