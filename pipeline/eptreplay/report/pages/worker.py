"""A process that renders guests for another one: `python -m eptreplay.report.pages.worker DESCRIPTOR`."""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

from eptreplay.report.pages.text import Pages


def main(descriptor: int) -> None:
    """Take a run, then guests by number, and answer what became of each; end when the other side does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets the interrupt too, and ends this process
    with Connection(descriptor) as connection:
        try:
            pages = Pages(*connection.recv())
            connection.send("ready")
            while True:
                connection.send(pages.write_guest(connection.recv()))
        except (EOFError, OSError):
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
