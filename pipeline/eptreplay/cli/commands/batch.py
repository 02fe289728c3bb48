"""The command `batch` and those for parts of one: their arguments and help."""

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app
from eptreplay.request.values import path

RUN = "run"


class PlanFirst(typer.core.TyperGroup):
    """Commands of `batch`; a plan without one of them is carried out, as by `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as click has it
        """Put `run` before a plan."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [RUN, *args]
        return super().parse_args(ctx, args)


app = typer_app(
    cls=PlanFirst,
    no_args_is_help=True,
    help="Carry out a plan, as 'eptreplay batch PLAN', or parts of it, for any scheduler.",
    epilog="Example:  eptreplay replay traces/*.parquet -p haswell --print-plan > plan.toml; eptreplay batch plan.toml",
)

PlanFile = Annotated[
    Path,
    typer.Argument(
        parser=path, metavar="PLAN", help="Plan, a TOML file; docs/plans.md says what may stand in it."
    ),
]

Parts = Annotated[
    int, typer.Option("--parts", min=1, max=100_000, help="Parts, with about as many rows each.")
]

Number = Annotated[int, typer.Argument(min=1, metavar="NUMBER", help="Number of the part, from 1.")]


@app.command(RUN, epilog="Example:  eptreplay batch plan.toml --resume --workers 2")
def run(
    context: typer.Context,
    plan: PlanFile,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    jobs: options.Jobs = 0,
    workers: options.Workers = 0,
) -> None:
    """Carry out a plan: check all of it, then replay every combination it has; 'run' may be left out."""
    from eptreplay.cli.batch import batch  # noqa: PLC0415 - help must wait for neither numba nor polars

    values = {"overwrite": overwrite, "resume": resume, "jobs": jobs, "workers": workers}
    raise typer.Exit(batch(plan, _given(context, values)))


@app.command(epilog="Example:  eptreplay batch init plan.toml --parts 100")
def init(context: typer.Context, plan: PlanFile, parts: Parts, overwrite: options.Overwrite = False) -> None:
    """Begin a plan in parts, which any number of machines carry out."""
    from eptreplay.cli.batch_parts import init  # noqa: PLC0415 - see run

    raise typer.Exit(init(plan, parts, _given(context, {"overwrite": overwrite})))


@app.command(epilog="Example:  seq 100 | xargs -P 4 -n 1 eptreplay batch part plan.toml")
def part(context: typer.Context, plan: PlanFile, number: Number, workers: options.Workers = 0) -> None:
    """Carry out one part; what of it is done is not done again."""
    from eptreplay.cli.batch_parts import part  # noqa: PLC0415 - see run

    raise typer.Exit(part(plan, number, _given(context, {"workers": workers})))


@app.command(epilog="Example:  eptreplay batch finish plan.toml")
def finish(context: typer.Context, plan: PlanFile, overwrite: options.Overwrite = False) -> None:
    """Put the tables and pages together when all parts are done."""
    from eptreplay.cli.batch_parts import finish  # noqa: PLC0415 - see run

    raise typer.Exit(finish(plan, _given(context, {"overwrite": overwrite})))


def _given(context: typer.Context, values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that stand on the command line: they take the place of the plan's."""
    given = options.given_names(context)
    return {name: value for name, value in values.items() if name in given}
