"""Which options of `replay` have an effect only on certain traces: given for others they are refused, not ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import UsageError
from eptreplay.request.option import Needs
from eptreplay.request.replay import REPLAY
from eptreplay.units import CYCLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.request.replay import ReplayRequest

OF_TRACES: Mapping[str, Needs[Sequence[GuestTrace]]] = {
    "align": Needs(
        "two guests or more: the times of one need not be put together", lambda traces: len(traces) > 1
    ),
    "idle_gap": Needs(
        "a guest whose guest.toml gives no idle gap of its own",
        lambda traces: any(trace.idle_gap_ns is None for trace in traces),
    ),
    "clock_mhz": Needs(
        "a trace that counts cycles, by time_unit in its metadata or in guest.toml",
        lambda traces: any(trace.time_unit.startswith(CYCLES) for trace in traces),
    ),
}
"""By option, what it needs of the traces."""


def refuse_without_effect_on(request: ReplayRequest, traces: Sequence[GuestTrace]) -> None:
    """Refuse an option that was given to `replay` and would change nothing for these traces.

    Raises:
        UsageError: there is one; names what it needs.
    """
    for name, needs in OF_TRACES.items():
        if name in request.given and not needs.met(traces):
            raise UsageError(f"{REPLAY[name].flag} needs {needs.what}")
