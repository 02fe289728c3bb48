"""The command `inspect`: its arguments and help."""

from typing import Annotated

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app

app = typer_app()


@app.command(epilog="Example:  eptreplay inspect guest.parquet    eptreplay inspect traces/ --exact --json -")
def inspect(
    traces: options.Traces,
    exact: Annotated[
        bool, typer.Option("--exact", help="Read every row, so that no figure comes from a sample.")
    ] = False,
    clock_mhz: options.ClockMhz = None,
    json: options.Json = None,
) -> None:
    """Say what is in traces: from footers and a sample of the rows in about a second, or exactly."""
    from eptreplay.cli.inspect import inspect  # noqa: PLC0415 - help must wait for neither numpy nor pyarrow

    raise typer.Exit(inspect(traces, exact=exact, clock_mhz=clock_mhz, json=json))
