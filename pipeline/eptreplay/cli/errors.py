"""Errors of the command line itself, in one line like all others: an unknown option, a value that is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import typer
import typer.core

from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The root of what is raised for a wrong command line; typer gives it no name of its own."""

R = TypeVar("R")


class Commands(typer.core.TyperGroup):
    """Commands whose wrong use is told in one line, which can be shown in a terminal whatever the user typed."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as click has it
        """Read the command line up to the name of a command.

        Raises:
            UsageError: it makes no sense.
        """
        return _in_one_line(lambda: super(Commands, self).make_context(*arguments, **options))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as click has it
        """Read the rest of the command line and carry the command out.

        Raises:
            UsageError: it makes no sense.
        """
        return _in_one_line(lambda: super(Commands, self).invoke(ctx))


def _in_one_line(step: Callable[[], R]) -> R:
    """Take a step, with an error of click's as one of ours; a command without arguments still shows its help."""
    try:
        return step()
    except CLICK_ERROR as error:
        context = getattr(error, "ctx", None)
        if context is None or type(error).__name__ == "NoArgsIsHelpError":
            raise
        names = [ancestor.info_name for ancestor in _ancestry(context)][1:]
        command = " ".join(["eptreplay", *filter(None, names)])
        told = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
        raise UsageError(f"{told}; '{command} --help' shows what there is") from error


def _ancestry(context: typer.Context) -> list[Any]:
    """Return the contexts from the outermost command to this one."""
    found: list[Any] = []
    at: Any = context
    while at is not None:
        found.insert(0, at)
        at = at.parent
    return found
