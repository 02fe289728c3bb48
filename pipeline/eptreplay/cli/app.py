"""The command line as a whole: its own options, and how errors and signals end it.

There is no `from __future__ import annotations` here: typer reads the annotations while the program runs.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from eptreplay import __version__
from eptreplay.cli.command_table import typer_app
from eptreplay.cli.errors import Commands
from eptreplay.cli.streams import standard_streams
from eptreplay.errors import EptReplayError
from eptreplay.run import signals
from eptreplay.safe_text import printable

app = typer_app(
    name="eptreplay",
    cls=Commands,
    help="Replay guest memory traces through an exact model of FreeBSD's nested page tables.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eptreplay {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Replay guest memory traces through an exact model of FreeBSD's nested page tables."""


def main() -> None:
    """Run the command line; errors that eptreplay raises on purpose become one line and an exit code."""
    with standard_streams():
        _run()


def _run() -> None:
    """Run the command line with signals raised as exceptions."""
    came: list[int] = []
    try:
        with signals.raised() as came:
            app()
    except EptReplayError as error:
        sys.stderr.write(f"eptreplay: {printable(str(error))}\n")
        sys.exit(error.exit_code)
    except signals.Stopped as stop:
        _end_stopped(stop.number, getattr(stop, "__notes__", []))
    except Exception:
        if not came:
            raise
        _end_stopped(came[0], [])  # a library made an error of its own of the signal


def _end_stopped(number: int, notes: Sequence[str]) -> NoReturn:
    """Say that a signal ended the command, and what was and what was not written."""
    name = signals.name(number)
    left = "; ".join(map(printable, notes)) or "nothing was written"
    sys.stderr.write(f"eptreplay: interrupted by {name}; {left}\n")
    sys.exit(signals.EXIT_BASE + number)
