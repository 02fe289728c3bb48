"""The options of a replay as typer takes them, built from their declarations in `request/`, and those of other commands.

An option that `replay` has and another command takes too is the same one: `of_replay` says which.
"""

from __future__ import annotations

from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eptreplay.request.choices import OnBadRows as OnBadRowsChoice
from eptreplay.request.replay import REPLAY
from eptreplay.request.values import path

if TYPE_CHECKING:
    from collections.abc import Callable

    from eptreplay.request.option import Option


def of_replay(name: str) -> Any:  # noqa: ANN401 - typer's types of arguments and options have nothing in common
    """Return typer's description of an option of `replay`, without its type and default."""
    option = REPLAY[name]
    declared = option.declared
    if declared.positional:
        return typer.Argument(metavar=declared.metavar, help=option.help)
    if declared.parse is not None:
        return typer.Option(option.flag, parser=declared.parse, metavar=declared.metavar, help=option.help)
    flags = [option.flag, *filter(None, [declared.short])]
    return typer.Option(
        *flags, metavar=declared.metavar, min=declared.minimum, max=declared.maximum, help=option.help
    )


def takes_replay_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `context` and any keywords the signature from which typer makes the options of `replay`."""
    context = Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    signature = Signature([context, *map(_parameter, REPLAY.values())])
    command.__signature__ = signature  # type: ignore[attr-defined] # what inspect.signature looks for first
    return command


def _parameter(option: Option) -> Parameter:
    """Return an option as a parameter of a command."""
    value = list[option.type] if option.several else option.type  # type: ignore[name-defined] # a type at run time only
    if option.optional:
        value = value | None
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    return Parameter(
        option.name,
        Parameter.POSITIONAL_OR_KEYWORD,
        annotation=Annotated[value, of_replay(option.name)],
        default=Parameter.empty if option.required else default,
    )


def given_names(context: typer.Context) -> frozenset[str]:
    """Return the parameters that stand on the command line, whether or not with the value they would have anyway."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source and source.name == "COMMANDLINE")


Traces = Annotated[list[str], of_replay("traces")]

OnBadRows = Annotated[OnBadRowsChoice, of_replay("on_bad_rows")]

ON_BAD_ROWS: OnBadRowsChoice = REPLAY["on_bad_rows"].default

ClockMhz = Annotated[float | None, of_replay("clock_mhz")]

Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write every figure as JSON, to a file, or to standard output with -."
    ),
]

Open = Annotated[bool, of_replay("open_page")]

Overwrite = Annotated[bool, of_replay("overwrite")]

Resume = Annotated[bool, of_replay("resume")]

Workers = Annotated[int, of_replay("workers")]

Jobs = Annotated[int, of_replay("jobs")]

SlowPath = Annotated[bool, of_replay("slow_path")]

WithTlbs = Annotated[bool, of_replay("tlb")]

Out = Annotated[Path, of_replay("out")]

Assumed = Annotated[
    list[str] | None,
    typer.Option(
        "--assume",
        metavar="NAME=VALUE",
        help="What an event costs, as in ipi_cycles=3000, or with its range, as in ipi_cycles=1000..3000 or "
        "ipi_cycles=1000..1500..3000; may be given several times. The pages list all names.",
    ),
]

RunFolder = Annotated[
    Path, typer.Argument(parser=path, metavar="RUN", help="Folder that 'replay --out' wrote.")
]
