"""A process that replays hosts for another one: `python -m eptreplay.run.processes.worker DESCRIPTOR`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from eptreplay.replay.driver.warm_up import warm_up
from eptreplay.run.failures import tell
from eptreplay.run.processes.messages import Done, Task
from eptreplay.run.processes.one_unit import replay_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from eptreplay.run.units import Execution, Replays

PR_SET_PDEATHSIG = 1
OFTEN_S = 0.2
"""Seconds between two messages about rows."""


def main(descriptor: int) -> None:
    """Take what all hosts share, then hosts, and answer what became of each; end when the other side does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets the interrupt too, and ends this process
    _end_with_parent()
    with Connection(descriptor) as connection:
        try:
            replays, execution = connection.recv()
            execution = replace(execution, on_rows=_counting(connection))
            warm_up([replays.options.policy])
            connection.send("ready")
            while True:
                task = connection.recv()
                connection.send(_carry_out(task, replays, execution))
        except (EOFError, OSError):
            return


def _end_with_parent() -> None:
    """Let the system end this process when its parent ends, where it can: nobody would take what it finds."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _counting(connection: Connection) -> Callable[[int], None]:
    """Return a callback that sends how many rows are replayed, now and then."""
    waiting, sent = 0, time.monotonic()

    def on_rows(rows: int) -> None:
        nonlocal waiting, sent
        waiting += rows
        if time.monotonic() - sent >= OFTEN_S:
            connection.send(waiting)
            waiting, sent = 0, time.monotonic()

    return on_rows


def _carry_out(task: Task, replays: Replays, execution: Execution) -> Done:
    try:
        failure = replay_unit(replays, task.traces, Path(task.part), execution)
    except OSError as error:
        return Done(task.unit, refused=(error.errno or 0, error.strerror or str(error)))
    return Done(task.unit, None if failure is None else tell(failure))


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    main(int(sys.argv[1]))
