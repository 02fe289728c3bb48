"""Which options have an effect only beside others: given without them they are refused, not ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import UsageError
from eptreplay.request.replay import REPLAY

if TYPE_CHECKING:
    from eptreplay.request.replay import ReplayRequest


def refuse_without_effect(request: ReplayRequest) -> None:
    """Refuse an option that was given to `replay` and would change nothing.

    Raises:
        UsageError: there is one; names what it needs.
    """
    for name, option in REPLAY.items():
        needs = option.declared.needs
        if name in request.given and needs is not None and not needs.met(request):
            raise UsageError(f"{option.flag} needs {needs.what}")
