"""The group of all commands, and errors of the command line itself, on one line like all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import typer
import typer.core

from eptreplay.cli.command_table import COMMANDS, LazyCommands
from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The base class of what is raised for a wrong command line; typer does not export it."""

R = TypeVar("R")


class Commands(typer.core.TyperGroup):
    """All commands. Their wrong use is reported on one line, which is safe to show in a terminal whatever the user typed."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as typer has it
        super().__init__(**settings)
        self.commands: Any = LazyCommands()

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - as typer has it
        """Write what each command does, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as click has it
        """Parse the command line up to the name of a command.

        Raises:
            UsageError: it is not valid.
        """
        return _in_one_line(lambda: super(Commands, self).make_context(*arguments, **options))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as click has it
        """Parse the rest of the command line and run the command.

        Raises:
            UsageError: it is not valid.
        """
        return _in_one_line(lambda: super(Commands, self).invoke(ctx))


def _in_one_line(step: Callable[[], R]) -> R:
    """Run a step and turn an error of click into a UsageError; a command without arguments still shows its help."""
    try:
        return step()
    except CLICK_ERROR as error:
        context = getattr(error, "ctx", None)
        if context is None or type(error).__name__ == "NoArgsIsHelpError":
            raise
        names = [ancestor.info_name for ancestor in _ancestry(context)][1:]
        command = " ".join(["eptreplay", *filter(None, names)])
        message = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
        raise UsageError(f"{message}; '{command} --help' shows what there is") from error


def _ancestry(context: typer.Context) -> list[Any]:
    """Return the contexts from the outermost command to this one."""
    found: list[Any] = []
    at: Any = context
    while at is not None:
        found.insert(0, at)
        at = at.parent
    return found
