"""The command `pack`: its arguments and help."""

from pathlib import Path
from typing import Annotated

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app
from eptreplay.request.values import path as a_path

app = typer_app()


@app.command(
    epilog="Example:  eptreplay pack guest.parquet -o packed.parquet    eptreplay pack --sort joined.parquet -o sorted.parquet"
)
def pack(
    traces: options.Traces,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            parser=a_path,
            metavar="OUT",
            help="Parquet file to write; of several guests a folder, one file each.",
        ),
    ],
    sort: Annotated[
        bool,
        typer.Option("--sort", help="Sort rows by time; rows of one time stay in order."),
    ] = False,
    dense: Annotated[
        bool,
        typer.Option(
            "--dense",
            help="Number 4 KB pages by first touch, as for addresses of a process: memory becomes as large as what was touched.",
        ),
    ] = False,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COLUMN",
            help="Column of the file that is a column of a trace, as in gpa=addr; may be given several times.",
        ),
    ] = None,
    hexadecimal: Annotated[
        bool, typer.Option("--hex", help="Read numbers that are text as hexadecimal also without 0x.")
    ] = False,
    seconds: Annotated[
        bool,
        typer.Option(
            "--float-seconds", help="Take times that are floats for seconds, and round them to nanoseconds."
        ),
    ] = False,
    clock_mhz: options.ClockMhz = None,
    on_bad_rows: options.OnBadRows = options.ON_BAD_ROWS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Write traces again in the layout that is decoded fastest, with their line in SHA256SUMS; every row is checked."""
    from eptreplay.cli.pack import PackRequest, pack  # noqa: PLC0415 - help must wait for neither numba nor polars

    request = PackRequest(
        traces, out, sort, dense, column or [], hexadecimal, seconds, clock_mhz, on_bad_rows, overwrite
    )
    raise typer.Exit(pack(request))
