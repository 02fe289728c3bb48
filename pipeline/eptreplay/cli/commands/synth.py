"""The command `synth`: its arguments and help."""

from pathlib import Path
from typing import Annotated

import typer

from eptreplay.cli.command_table import typer_app
from eptreplay.request.values import path as a_path

app = typer_app()


@app.command(
    epilog="Example:  eptreplay synth --print-example > guest.toml    eptreplay synth guest.toml -o guest.parquet",
)
def synth(
    source: Annotated[
        Path | None,
        typer.Argument(
            parser=a_path,
            metavar="GUEST.toml",
            help="What the guest does: rows, memory, vCPUs, and phases of zipf, uniform, sequential and strided accesses.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", parser=a_path, metavar="OUT", help="The trace to write, a Parquet file."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    print_example: Annotated[
        bool, typer.Option("--print-example", help="Print a guest with every key explained, and exit.")
    ] = False,
) -> None:
    """Write the trace of a made-up guest; the same file makes the same rows on every machine."""
    from eptreplay.cli.synth import synth  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(synth(source, out, overwrite=overwrite, print_example=print_example))
