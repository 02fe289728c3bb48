"""The command `clean`: its arguments and help."""

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app

app = typer_app()


@app.command(epilog="Example:  eptreplay clean reports/run")
def clean(run: options.RunFolder) -> None:
    """Remove what unfinished and killed runs into a folder left; a finished run there stays."""
    from eptreplay.cli.clean import clean  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(clean(run))
