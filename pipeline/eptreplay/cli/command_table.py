"""What commands there are. Each is loaded when it is called: a list of them must not wait for the options of a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer

COMMANDS: Mapping[str, str] = {
    "replay": "Replay traces; write tables and pages.",
    "batch": "Carry out a plan of replays.",
    "conform": "Compare with what a real kernel did.",
    "check": "Check every row of traces.",
    "inspect": "Say what is in traces.",
    "pack": "Write traces in the fastest layout.",
    "import": "Turn another tool's trace into a native one.",
    "export": "Turn a native trace into another tool's.",
    "synth": "Make up a guest, and the trace of it.",
    "report": "Render the pages of a run again.",
    "compare": "Compare two runs on the same pages.",
    "summary": "Print the essentials of a run.",
    "bench": "Measure what replays cost.",
    "clean": "Remove what unfinished runs left.",
    "profiles": "List and explain CPU profiles.",
}
"""What each command does, by name, in the order of help; `app` in commands/NAME.py has its arguments."""

_FILES = {"import": "import_trace", "export": "export_trace"}
"""Files of commands/ that are not named after their command: those would be hard to import."""


def typer_app(**settings: Any) -> typer.Typer:  # noqa: ANN401 - whatever typer takes
    """Return an app that has no options of typer's own and shows its help as plain text."""
    return typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, **settings
    )


class LazyCommands(Mapping[str, Any]):
    """Commands by name, as typer makes them; one is imported when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - typer exports no type of commands
        """Return a command."""
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self._loaded:
            app = import_module(f"eptreplay.cli.commands.{_FILES.get(name, name)}").app
            self._loaded[name] = typer.main.get_command(app)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(COMMANDS)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(COMMANDS)
