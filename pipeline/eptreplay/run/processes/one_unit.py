"""One host with its guests, replayed in this process, from its traces to its part."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eptreplay.run.unfinished.part import write_part
from eptreplay.run.units import failure_of, part_of, units

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eptreplay.ingest.trace.guest_trace import GuestTrace
    from eptreplay.run.failures import Failure
    from eptreplay.run.units import Execution, Replays


def replay_unit(
    replays: Replays, traces: Sequence[GuestTrace], part: Path, execution: Execution
) -> Failure | None:
    """Replay a host and write its part; return what failed, if anything did.

    Args:
        replays: profiles and options.
        traces: of the guests of the host.
        part: where the part is to be.
        execution: threads of each guest, checkpoints and progress.

    Raises:
        OSError: the part cannot be written.
    """
    of_one = replace(replays, traces=traces)
    for unit in units(of_one, execution):
        try:
            found = part_of(unit, of_one)
        except Exception as error:  # noqa: BLE001 - whatever a guest raises costs only the guests of its host
            return failure_of(unit, error)
        write_part(part, found)
        if execution.checkpoints is not None:
            for trace in traces:
                execution.checkpoints.remove(trace.name)
    return None
