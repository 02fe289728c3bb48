"""One part of a run: its hosts are replayed, and each leaves a file that says what became of it.

A scheduler may run a part twice, one after the other or at once: what is done is not done again, and whoever comes second leaves a part
alone that another process has claimed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import OutputError, UsageError
from eptreplay.run.beside import unfinished_folder
from eptreplay.run.parts.shares import balanced, read_shares, write_shares
from eptreplay.run.processes.messages import Task
from eptreplay.run.processes.pool import by_processes
from eptreplay.run.signals import Stopped
from eptreplay.run.unfinished import folder as unfinished
from eptreplay.run.unfinished.claims import claimed, refuse_while_claimed
from eptreplay.run.units import checkpoints_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from eptreplay.run.failures import Failure
    from eptreplay.run.unfinished.folder import Work
    from eptreplay.run.units import Execution, Replays


class PartResult(NamedTuple):
    """What became of a part.

    Args:
        guests: of it.
        replayed: guests that were replayed now.
        failures: of those that could not be.
        holder: who has claimed it, so that nothing was done; None: nobody else.
    """

    guests: int
    replayed: int
    failures: Sequence[Failure]
    holder: str | None = None


def begin_parts(
    out: Path, about: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]], parts: int, command: str
) -> list[list[int]]:
    """Begin a run in so many parts, or go on with one; return which hosts every part has.

    Args:
        out: where the run is to be.
        about: see `manifest.head`.
        inputs: see `manifest.input_of`, of every guest.
        parts: how many, at least 1.
        command: what goes on with the run.

    Raises:
        OutputError: the folder cannot be written, an unfinished run there was begun otherwise, or a part is being carried out.
    """
    refuse_while_claimed(unfinished_folder(out))
    try:
        work = unfinished.resume(out, about, inputs)
        unfinished.write_command(work, command)
        rows = {each["guest"]: int(each["rows"]) for each in inputs}
        shares = balanced([sum(rows[name] for name in unit) for unit in work.units], parts)
        write_shares(work, shares)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); give another folder") from error
    return shares


def carry_out_part(
    replays: Replays, out: Path, about: Mapping[str, Any], number: int, execution: Execution
) -> PartResult:
    """Replay the hosts of a part that are not done.

    Args:
        replays: of the whole run.
        out: where the run is to be.
        about: see `manifest.head`; must be what the run was begun with.
        number: of the part, from 1.
        execution: how; at least one process replays, so that a guest that kills it costs no other.

    Raises:
        OutputError: the run was not begun, or otherwise, or a part cannot be written.
        UsageError: there is no such part.
    """
    work = unfinished.begun(out, about)
    shares = read_shares(work)
    if not 1 <= number <= len(shares):
        raise UsageError(f"there is no part {number}; the run has parts 1 to {len(shares)}")
    share = shares[number - 1]
    guests = sum(len(work.units[unit]) for unit in share)
    with claimed(work.folder, number) as holder:
        if holder is not None:
            return PartResult(guests, 0, (), holder)
        return _replay(replays, work, share, execution)


def _replay(replays: Replays, work: Work, share: Sequence[int], execution: Execution) -> PartResult:
    done = set(work.done())
    by_name = {trace.name: trace for trace in replays.traces}
    tasks = [
        Task(unit, [by_name[name] for name in work.units[unit]], str(work.part(unit).absolute()))
        for unit in share
        if unit not in done
    ]
    threads = max(1, (os.cpu_count() or 1) // execution.workers)
    execution = replace(
        execution, threads=threads, checkpoints=checkpoints_in(work.folder, replays, execution)
    )
    failures: list[Failure] = []
    replayed = 0
    try:
        for unit, failure in by_processes(replays, tasks, execution):
            work.failed(unit, failure)
            if failure is None:
                replayed += len(work.units[unit])
            else:
                failures.append(failure)
    except OSError as error:
        raise OutputError(
            f"{work.folder}: a part cannot be written ({error.strerror or error}); what is done is kept; run the same command again"
        ) from error
    except Stopped as stop:
        stop.add_note("guests of the part that are done are kept; to go on, run the same command again")
        raise
    return PartResult(sum(len(work.units[unit]) for unit in share), replayed, failures)
