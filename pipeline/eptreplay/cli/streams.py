"""Standard output and error as a Unix tool uses them: a failure to write ends the command without a traceback."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eptreplay.errors import Exit
from eptreplay.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from _typeshed import ReadableBuffer

CLOSED_PIPE = 141
"""Exit code of a command whose reader closed the pipe: 128 plus the number of SIGPIPE, as in a shell."""


class OutputLost(BaseException):
    """Standard output cannot be written any more.

    It is not an `Exception`, so that no handler between here and `main` catches it.

    Args:
        reason: why, from the system.
    """

    def __init__(self, reason: OSError) -> None:
        self.reason = reason
        super().__init__(str(reason))


class _Output(io.FileIO):
    """Standard output: the first failure to write ends the command; what is still in buffers then goes nowhere."""

    lost = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes.

        Raises:
            OutputLost: the system refuses them; only the first time.
        """
        if self.lost:
            return len(memoryview(data).cast("B"))
        try:
            return super().write(data)
        except OSError as error:
            self.lost = True
            raise OutputLost(error) from error


class _Errors(io.FileIO):
    """Standard error: what cannot be written is lost, since there is nowhere to report it."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes; drop those that cannot be written."""
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data).cast("B"))


@contextmanager
def standard_streams() -> Iterator[None]:
    """Let the command inside end as a Unix tool does when its output cannot be written.

    A reader that went away (`| head -1`) ends it silently with 141, anything else (a full disk, a closed
    stream) with a line on standard error and 2.  Streams that are not files, as in tests, are left alone.
    """
    before = sys.stdout, sys.stderr
    _hold_closed()
    sys.stdout, sys.stderr = _checked(before[0], 1, _Output), _checked(before[1], 2, _Errors)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except Exception:  # noqa: BLE001 - a fault of eptreplay: its traceback may hold names from outside, which `printable` makes harmless
        for line in traceback.format_exc().splitlines():
            sys.stderr.write(printable(line) + "\n")
        sys.exit(1)
    except OutputLost as lost:
        if lost.reason.errno == errno.EPIPE:
            sys.exit(CLOSED_PIPE)
        sys.stderr.write(
            f"eptreplay: standard output: {lost.reason.strerror}; what the command had to say is cut short there\n"
        )
        sys.exit(Exit.BAD_INPUT)
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _hold_closed() -> None:
    """Open /dev/null in the place of standard streams that are closed, so that no other file gets their descriptor."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # a write to it fails, as one to a closed stream does


def _checked(stream: TextIO | None, number: int, kind: type[io.FileIO]) -> TextIO:
    """Return a standard stream that handles failures to write."""
    if stream is not None:
        try:
            number = stream.fileno()
        except (OSError, ValueError):  # not a file: captured within this process, as in tests
            return stream
        stream.flush()
    raw = kind(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",  # a character that the terminal's encoding lacks is shown escaped
        line_buffering=number == 2 or raw.isatty(),
    )
