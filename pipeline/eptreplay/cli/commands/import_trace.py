"""The command `import`: its arguments and help."""

from typing import Any

import typer

from eptreplay.cli.command_table import typer_app
from eptreplay.cli.import_options import import_request, takes_import_options

app = typer_app()


@app.command(
    "import",
    epilog="Example:  eptreplay import lackey mem.log.gz -o mem.parquet    eptreplay import --list",
)
@takes_import_options
def import_trace(context: typer.Context, **values: Any) -> None:  # noqa: ANN401 - ImportRequest has their types
    """Turn traces of other tools into a native one: what a record was, and what is approximated, is in its metadata."""
    from eptreplay.cli.import_traces import import_traces  # noqa: PLC0415 - help must wait for neither numba nor polars

    raise typer.Exit(import_traces(import_request(context, values)))
