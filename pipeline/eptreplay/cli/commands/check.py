"""The command `check`: its arguments and help."""

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app

app = typer_app()


@app.command(epilog="Example:  eptreplay check traces/*.parquet --json check.json")
def check(
    traces: options.Traces,
    on_bad_rows: options.OnBadRows = options.ON_BAD_ROWS,
    json: options.Json = None,
) -> None:
    """Read every row of traces, check it against every rule, and say what is in them."""
    from eptreplay.cli.check import check  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(check(traces, on_bad_rows, json))
