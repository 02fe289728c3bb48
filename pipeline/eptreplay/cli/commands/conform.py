"""The command `conform`: its arguments and help."""

from pathlib import Path
from typing import Annotated

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app
from eptreplay.request.values import path as a_path

app = typer_app()


@app.command(
    epilog="Example:  eptreplay conform vectors/    eptreplay conform golden/ --traces traces/",
)
def conform(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(parser=a_path, metavar="DIR", help="Folder of vectors or golden replays.")
    ],
    traces: Annotated[
        Path | None,
        typer.Option(parser=a_path, metavar="DIR", help="Folder of the traces that golden replays name."),
    ] = None,
    sequence: Annotated[
        list[int] | None,
        typer.Option(help="Replay only this sequence of vectors; may be given several times."),
    ] = None,
    slow_path: options.SlowPath = False,
    tlb: options.WithTlbs = False,
) -> None:
    """Replay what a real FreeBSD kernel did and compare every answer; exit code 1 on any difference."""
    from eptreplay.cli.conform import conform  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(
        conform(
            folder,
            traces,
            frozenset(sequence) if sequence else None,
            slow_path=slow_path,
            tlb=tlb,
            given=options.given_names(context),
        )
    )
