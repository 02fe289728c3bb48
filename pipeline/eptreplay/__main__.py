"""`python -m eptreplay`, and where the installed command begins."""

from __future__ import annotations

import signal


def start() -> None:
    """Run the command line; until it takes care of signals itself, Ctrl-C ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from eptreplay.cli.app import main  # noqa: PLC0415 - takes long enough to be interrupted

    main()


if __name__ == "__main__":
    start()
