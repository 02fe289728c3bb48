"""The command `compare`: its arguments and help."""

from pathlib import Path
from typing import Annotated

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app
from eptreplay.request.values import path as a_path

app = typer_app()


@app.command(
    epilog="Example:  eptreplay compare reports/before reports/after --out reports/compare --open",
)
def compare(
    first: Annotated[
        Path, typer.Argument(parser=a_path, metavar="RUN_A", help="Folder that 'replay --out' wrote.")
    ],
    second: Annotated[
        Path, typer.Argument(parser=a_path, metavar="RUN_B", help="Another one, of the same guests.")
    ],
    out: options.Out = Path("reports/compare"),
    overwrite: options.Overwrite = False,
    assume: options.Assumed = None,
    open_page: options.Open = False,
) -> None:
    """Compare two runs of the same guests: the pages of a run, with the profiles of both side by side."""
    from eptreplay.cli.compare import compare  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(compare(first, second, out, assume or [], overwrite=overwrite, open_page=open_page))
