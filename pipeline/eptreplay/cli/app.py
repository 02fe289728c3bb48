"""The typer app: what commands there are, their arguments and help; a file beside this one carries each out.

Those files are imported only when their command is called: help and `--version` must wait for neither numba nor polars.
There is no `from __future__ import annotations` here: typer reads the annotations while the program runs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from eptreplay import __version__
from eptreplay.cli import options
from eptreplay.cli.errors import Commands
from eptreplay.cli.streams import standard_streams
from eptreplay.errors import EptReplayError
from eptreplay.request.replay import ReplayRequest
from eptreplay.request.values import path as a_path
from eptreplay.run import signals
from eptreplay.safe_text import printable

app = typer.Typer(
    name="eptreplay",
    cls=Commands,
    help="Replay guest memory traces through an exact model of FreeBSD's nested page tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
profiles_app = typer.Typer(help="List, explain and decode CPU feature profiles.", no_args_is_help=True)
app.add_typer(profiles_app, name="profiles", short_help="List and explain CPU profiles.")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eptreplay {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Replay guest memory traces through an exact model of FreeBSD's nested page tables."""


@app.command(
    short_help="Replay traces; write tables and pages.",
    epilog="Example:  eptreplay replay traces/*.parquet -p haswell -p nehalem -p zen2 --out reports/run",
)
@options.takes_replay_options
def replay(context: typer.Context, **values: Any) -> None:  # noqa: ANN401 - ReplayRequest has their types
    """Replay traces under one or several CPU profiles and write tables and pages."""
    from eptreplay.cli.replay import replay  # noqa: PLC0415 - help must not wait for numba and polars

    raise typer.Exit(replay(ReplayRequest(**values, given=options.given_names(context))))


@app.command(
    short_help="Compare with what a real kernel did.",
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
    from eptreplay.cli.conform import conform  # noqa: PLC0415 - as for replay

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


@app.command(short_help="Check every row of traces.", epilog="Example:  eptreplay check traces/*.parquet")
def check(traces: options.Traces, on_bad_rows: options.OnBadRows = options.ON_BAD_ROWS) -> None:
    """Read every row of traces, check it against every rule, and say what is in them."""
    from eptreplay.cli.check import check  # noqa: PLC0415 - as for replay

    raise typer.Exit(check(traces, on_bad_rows))


@app.command(
    short_help="Render the pages of a run again.",
    epilog="Example:  eptreplay report reports/run --assume clock_mhz=3200 --open",
)
def report(run: options.RunFolder, assume: options.Assumed = None, open_page: options.Open = False) -> None:
    """Render the pages of a run again, from its tables alone."""
    from eptreplay.cli.report import report  # noqa: PLC0415 - as for replay

    raise typer.Exit(report(run, assume or [], open_page=open_page))


@app.command(
    short_help="Compare two runs on the same pages.",
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
    from eptreplay.cli.compare import compare  # noqa: PLC0415 - as for replay

    raise typer.Exit(compare(first, second, out, assume or [], overwrite=overwrite, open_page=open_page))


@app.command(
    short_help="Print the essentials of a run.",
    epilog="Example:  eptreplay summary reports/run --guest web-1vcpu",
)
def summary(
    run: options.RunFolder,
    guest: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Tell of this guest; may be given several times."),
    ] = None,
    assume: options.Assumed = None,
) -> None:
    """Print the essentials of a run: what each guest cost, and where its accesses went, as a map of characters."""
    from eptreplay.cli.summary import summary  # noqa: PLC0415 - as for replay

    raise typer.Exit(summary(run, guest or [], assume or []))


@app.command(
    short_help="Measure what replays cost.",
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
    from eptreplay.cli.bench import bench  # noqa: PLC0415 - as for replay

    raise typer.Exit(bench(traces, runs, as_json=as_json))


@profiles_app.command("list", short_help="List all profiles.")
def profiles_list() -> None:
    """List all profiles: what bhyve would make of each CPU, and how sure the facts are."""
    from eptreplay.cli.profiles import show_all  # noqa: PLC0415 - as for replay

    show_all()


@profiles_app.command(
    "show", short_help="Explain one profile.", epilog="Example:  eptreplay profiles show haswell:ad=off"
)
def profiles_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Profile, with or without overrides.")],
) -> None:
    """Explain one profile: every fact with its source, and what follows for the page tables."""
    from eptreplay.cli.profiles import show  # noqa: PLC0415 - as for replay

    raise typer.Exit(show(name))


@profiles_app.command(
    "from-msr",
    short_help="Decode a machine's EPT capabilities.",
    epilog="Example:  eptreplay profiles from-msr 0xf0106334141",
    context_settings={"ignore_unknown_options": True},  # -1 is a value, though a wrong one
)
def profiles_from_msr(
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="IA32_VMX_EPT_VPID_CAP (MSR 48CH), hexadecimal.")
    ],
) -> None:
    """Decode a real machine's IA32_VMX_EPT_VPID_CAP and say what bhyve would make of it."""
    from eptreplay.cli.profiles import from_msr  # noqa: PLC0415 - as for replay

    raise typer.Exit(from_msr(value))


def main() -> None:
    """Run the command line; errors that eptreplay raises on purpose become one line and an exit code."""
    with standard_streams():
        _run()


def _run() -> None:
    """Run the command line with signals raised as exceptions."""
    came: list[int] = []
    try:
        with signals.raised() as came:
            app()
    except EptReplayError as error:
        sys.stderr.write(f"eptreplay: {printable(str(error))}\n")
        sys.exit(error.exit_code)
    except signals.Stopped as stop:
        _end_stopped(stop.number, getattr(stop, "__notes__", []))
    except Exception:
        if not came:
            raise
        _end_stopped(came[0], [])  # a library made an error of its own of the signal


def _end_stopped(number: int, notes: Sequence[str]) -> NoReturn:
    """Say that a signal ended the command, and what was and what was not written."""
    name = signals.name(number)
    left = "; ".join(map(printable, notes)) or "nothing was written"
    sys.stderr.write(f"eptreplay: interrupted by {name}; {left}\n")
    sys.exit(signals.EXIT_BASE + number)
