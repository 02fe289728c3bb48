"""Signals that end a command: raised as exceptions in the main thread, so that unfinished files are cleaned up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_BASE = 128
"""A command that a signal ends has this exit code plus the signal's number, as in a shell."""

SENT_AGAIN_SECONDS = 0.05


class Stopped(BaseException):
    """A signal ended the command; notes say what was and what was not written.

    It is neither an `Exception` nor a `KeyboardInterrupt`, at which typer would exit without a message.
    """

    def __init__(self, number: int) -> None:
        super().__init__(name(number))
        self.number = number


def name(number: int) -> str:
    """Return the name of a signal."""
    return signal.Signals(number).name


@contextmanager
def raised() -> Iterator[list[int]]:
    """Raise `Stopped` when a signal ends the command; give the numbers of the signals that came.

    A signal that the parent process ignores (nohup) stays ignored.  One that comes while compiled code calls back into Python, as the
    compiler does, cannot be raised there: it is sent again.
    """
    came: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        came.append(number)
        raise Stopped(number)

    with _handled(stop), _sent_again():
        yield came


@contextmanager
def _sent_again() -> Iterator[None]:
    """Send a signal again if its exception came where none can be raised; it is not reported there."""
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, Stopped):
            number = unraisable.exc_value.number
            again = threading.Timer(SENT_AGAIN_SECONDS, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def deferred() -> Iterator[None]:
    """Defer signals to the end of the block, which must be short."""
    came: list[int] = []
    try:
        with _handled(lambda number, _: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


@contextmanager
def _handled(handler: signal._HANDLER) -> Iterator[None]:
    """Install a handler for the signals of `ENDING`, where Python allows it, which is in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    taken = [number for number, old in before.items() if old not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
