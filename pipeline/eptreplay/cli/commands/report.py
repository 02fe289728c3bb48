"""The command `report`: its arguments and help."""

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app

app = typer_app()


@app.command(
    epilog="Example:  eptreplay report reports/run --assume clock_mhz=3200 --open",
)
def report(run: options.RunFolder, assume: options.Assumed = None, open_page: options.Open = False) -> None:
    """Render the pages of a run again, from its tables alone."""
    from eptreplay.cli.report import report  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(report(run, assume or [], open_page=open_page))
