"""The command `bench`: its arguments and help."""

from pathlib import Path
from typing import Annotated

import typer

from eptreplay.cli.command_table import typer_app
from eptreplay.request.values import path as a_path

app = typer_app()


@app.command(
    epilog="Example:  eptreplay bench traces/web-1vcpu.parquet --json",
)
def bench(
    traces: Annotated[
        list[Path], typer.Argument(parser=a_path, metavar="TRACE", help="Parquet files to measure on.")
    ],
    runs: Annotated[int, typer.Option(min=1, help="Counted runs of each pair.")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON with the machine and every figure.")
    ] = False,
) -> None:
    """Measure what replays cost as ratios to decoding the same columns, in one run."""
    from eptreplay.cli.bench import bench  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(bench(traces, runs, as_json=as_json))
