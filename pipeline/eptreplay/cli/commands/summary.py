"""The command `summary`: its arguments and help."""

from typing import Annotated

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app

app = typer_app()


@app.command(
    epilog="Example:  eptreplay summary reports/run --guest web-1vcpu",
)
def summary(
    run: options.RunFolder,
    guest: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Tell of this guest; may be given several times."),
    ] = None,
    assume: options.Assumed = None,
) -> None:
    """Print the essentials of a run: what each guest cost, and where its accesses went, as a map of characters."""
    from eptreplay.cli.summary import summary  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(summary(run, guest or [], assume or []))
