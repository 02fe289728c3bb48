"""The command `batch`: its arguments and help."""

from pathlib import Path
from typing import Annotated

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app
from eptreplay.request.values import path

app = typer_app()

PlanFile = Annotated[
    Path,
    typer.Argument(
        parser=path, metavar="PLAN", help="Plan, a TOML file; docs/plans.md says what may stand in it."
    ),
]


@app.command(
    epilog="Example:  eptreplay replay traces/*.parquet -p haswell --print-plan > plan.toml; eptreplay batch plan.toml",
)
def batch(
    context: typer.Context,
    plan: PlanFile,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    jobs: options.Jobs = 0,
    workers: options.Workers = 0,
) -> None:
    """Carry out a plan: check all of it, then replay every combination it has."""
    from eptreplay.cli.batch import batch  # noqa: PLC0415 - help must wait for neither numba nor polars

    given = options.given_names(context)
    instead = {
        name: value
        for name, value in (
            ("overwrite", overwrite),
            ("resume", resume),
            ("jobs", jobs),
            ("workers", workers),
        )
        if name in given
    }
    raise typer.Exit(batch(plan, instead))
