"""The command `export`: its arguments and help."""

from pathlib import Path
from typing import Annotated

import typer

from eptreplay.cli.command_table import typer_app
from eptreplay.request.values import path as a_path

app = typer_app()


@app.command(
    "export",
    epilog="Example:  eptreplay export oracleGeneral guest.parquet -o guest.oracleGeneral.bin",
)
def export_trace(
    export_format: Annotated[
        str, typer.Argument(metavar="FORMAT", help="oracleGeneral or lcs (libCacheSim).")
    ],
    trace: Annotated[str, typer.Argument(metavar="TRACE", help="A trace of one guest.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", parser=a_path, metavar="OUT", help="The file to write.")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Turn a native trace into one for another tool, a record a row, and say what it has no place for."""
    from eptreplay.cli.export_trace import export_trace  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(export_trace(export_format, trace, out, overwrite=overwrite))
