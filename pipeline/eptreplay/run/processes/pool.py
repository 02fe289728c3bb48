"""Processes that replay the hosts of a run, one at a time each; one that kills its process twice is put aside and named."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from eptreplay.run.failures import Failure, ToldError, failure_told
from eptreplay.run.processes.messages import Done, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.run.units import Execution, Replays

MODULE = "eptreplay.run.processes.worker"
TRIES = 2
"""How often a host may kill its process before it is put aside."""

MEMORY = "the system ends a process so when memory runs out: replay it alone, under fewer profiles, or on a machine with more"


class _Worker:
    """A process, and the host that it has."""

    def __init__(self, shared: tuple[Replays, Execution]) -> None:
        self.connection, theirs = Pipe()
        self.task: Task | None = None
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                [sys.executable, "-P", "-m", MODULE, str(theirs.fileno()), os.getcwd()],  # noqa: PTH109 - as text
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self.send(shared)

    def send(self, what: object) -> None:
        """Send something; a process that has died will be seen when it is asked for an answer."""
        with contextlib.suppress(OSError):
            self.connection.send(what)

    def give(self, task: Task) -> None:
        """Give it a host to replay."""
        self.task = task
        self.send(task)

    def answer(self) -> object:
        """Take what it has to say; None if it has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def end(self) -> int:
        """End the process, if it goes on, and return its exit code, negative for a signal."""
        self.connection.close()
        self._process.kill()
        return self._process.wait()

    def ended_by_itself(self) -> int:
        """Wait for a process that has closed its end, and return how it ended."""
        self._process.wait()
        return self.end()


def by_processes(
    replays: Replays, tasks: Sequence[Task], execution: Execution
) -> Iterator[tuple[int, Failure | None]]:
    """Replay hosts by processes, and yield the number of each as it is done, with what failed.

    Args:
        replays: profiles and options; its traces are not looked at.
        tasks: the hosts.
        execution: how: processes, at least 1, threads of each, and what is called with how many more rows are replayed.

    Raises:
        OSError: a part cannot be written, or no process can be started.
    """
    waiting = deque(tasks)
    deaths: dict[int, list[str]] = {}
    count = execution.on_rows or (lambda _: None)
    shared = (
        replace(replays, traces=(), failed=()),
        replace(execution, guests=1, on_rows=None, on_page=None),
    )
    running: list[_Worker] = []
    try:
        while waiting or any(worker.task is not None for worker in running):
            while len(running) < min(execution.workers, len(waiting) + len(running)):
                running.append(_Worker(shared))
            ready = wait([worker.connection for worker in running])
            for worker in [worker for worker in running if worker.connection in ready]:
                answer = worker.answer()
                if answer is None:
                    running.remove(worker)
                    yield from _died(worker, deaths, waiting)
                elif isinstance(answer, int):
                    count(answer)
                else:
                    if isinstance(answer, Done):
                        yield answer.unit, _outcome(answer)
                    _next(worker, running, waiting)
    finally:
        for worker in running:
            worker.end()


def _outcome(answer: Done) -> Failure | None:
    """Return what failed of a host, if anything did.

    Raises:
        OSError: its part cannot be written.
    """
    if answer.refused is not None:
        raise OSError(*answer.refused)
    return None if answer.failed is None else failure_told(answer.failed)


def _next(worker: _Worker, running: list[_Worker], waiting: deque[Task]) -> None:
    """Give a process the next host; end it if there is none."""
    worker.task = None
    if waiting:
        worker.give(waiting.popleft())
    else:
        running.remove(worker)
        worker.end()


def _died(
    worker: _Worker, deaths: dict[int, list[str]], waiting: deque[Task]
) -> Iterator[tuple[int, Failure | None]]:
    """Let a host whose process died be replayed once more, after all others, or put it aside.

    Raises:
        OSError: it died before it had one.
    """
    task, how = worker.task, _how(worker.ended_by_itself())
    if task is None:
        raise ChildProcessError(0, f"a process that replays could not begin: {how}")
    known = deaths.setdefault(task.unit, [])
    known.append(how)
    if len(known) < TRIES:
        waiting.append(task)
        return
    names = [trace.name for trace in task.traces]
    first, *others = names
    name = f"{first} and {len(others)} more on its host" if others else first
    causes = " and ".join(dict.fromkeys(known))
    yield task.unit, Failure(name, ToldError(f"its process died twice ({causes})"))


def _how(code: int) -> str:
    """Return how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}; {MEMORY}" if -code == signal.SIGKILL else name
