"""The command `replay`: its arguments and help."""

from typing import Any

import typer

from eptreplay.cli import options
from eptreplay.cli.command_table import typer_app
from eptreplay.request.replay import ReplayRequest

app = typer_app()


@app.command(
    epilog="Example:  eptreplay replay traces/*.parquet -p haswell -p nehalem -p zen2 --out reports/run",
)
@options.takes_replay_options
def replay(context: typer.Context, **values: Any) -> None:  # noqa: ANN401 - ReplayRequest has their types
    """Replay traces under one or several CPU profiles and write tables and pages."""
    from eptreplay.cli.replay import replay  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(replay(ReplayRequest(**values, given=options.given_names(context))))
