"""Pages of many guests, rendered by several processes.

Rendering is Python, which threads do not speed up.  A worker is a fresh interpreter (a fork of a process with
threads may hang) that has one guest at a time, so that its death costs that guest's page, and another takes its place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from eptreplay.report.pages.text import Pages, Rendered, Unrendered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from eptreplay.report.costs.costs import Assumptions

GUESTS_PER_WORKER = 12
"""Guests below which another process costs more than it saves: it takes half a second to start."""

MODULE = "eptreplay.report.pages.worker"


def rendered(pages: Pages, workers: int) -> Iterator[Rendered | Unrendered]:
    """Write the pages of all guests of a run, and yield what became of each as it is done.

    Args:
        pages: of the run; its folders for pages are there.
        workers: the most processes.
    """
    numbers = iter(range(pages.guests))
    wanted = min(workers, pages.guests // GUESTS_PER_WORKER)
    if wanted > 1:
        yield from _by_workers(pages, numbers, wanted)
    for number in numbers:
        yield pages.write_guest(number)


def in_order(done: Iterable[Rendered | Unrendered]) -> Iterator[Rendered | Unrendered]:
    """Yield guests in the order of their numbers, which begin at 0, each as soon as those before it are there."""
    waiting: dict[int, Rendered | Unrendered] = {}
    due = 0
    for each in done:
        waiting[each.number] = each
        while due in waiting:
            yield waiting.pop(due)
            due += 1


class _Worker:
    """A process that renders, and the guest that it has."""

    def __init__(self, job: tuple[Path, Assumptions]) -> None:
        self.connection, theirs = Pipe()
        self.guest: int | None = None
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - the command is our own
                [sys.executable, "-P", "-m", MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # One thread each: there are as many processes as processors.
                env={
                    **os.environ,
                    "POLARS_MAX_THREADS": "1",
                    # That of the system gives back what it does not use.
                    "ARROW_DEFAULT_MEMORY_POOL": "system",
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
            )
        self.send(job)

    def send(self, what: object) -> None:
        """Send a job or the number of a guest; one that has died will be seen when it is asked for an answer."""
        with contextlib.suppress(OSError):
            self.connection.send(what)

    def end(self) -> str:
        """End the process, if it goes on, and return how it ended."""
        self.connection.close()
        self._process.kill()
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def ended_by_itself(self) -> str:
        """Wait for a process that has closed its end, and return how it ended."""
        self._process.wait()
        return self.end()


def _by_workers(pages: Pages, numbers: Iterator[int], wanted: int) -> Iterator[Rendered | Unrendered]:
    """Render with so many processes; where none can be started, leave the rest of the numbers."""
    job = (pages.folder.absolute(), pages.assumed)
    workers: list[_Worker] = []
    known = [pages.assumed]
    try:
        for _ in range(wanted):
            _start(workers, job)
        while workers:
            ready = wait([worker.connection for worker in workers])
            for worker in [worker for worker in workers if worker.connection in ready]:
                try:
                    answer = worker.connection.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    how = worker.ended_by_itself()
                    if worker.guest is not None:
                        yield pages.lost(worker.guest, f"the process that rendered it ended: {how}")
                        _start(workers, job)
                    continue
                if isinstance(answer, Rendered):
                    yield answer._replace(line=answer.line.sharing(known))
                elif isinstance(answer, Unrendered):
                    yield answer
                worker.guest = next(numbers, None)
                if worker.guest is None:
                    workers.remove(worker)
                    worker.end()
                else:
                    worker.send(worker.guest)
    finally:
        for worker in workers:
            worker.end()


def _start(workers: list[_Worker], job: tuple[Path, Assumptions]) -> None:
    """Start another worker, unless the system refuses."""
    try:
        worker = _Worker(job)
    except OSError:
        return
    workers.append(worker)
