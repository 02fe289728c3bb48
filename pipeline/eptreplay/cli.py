"""The command line: thin commands over the library; options that several commands share are declared once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from eptreplay import __version__, cli_options, signals
from eptreplay.cli_errors import Commands
from eptreplay.cli_values import path as a_path
from eptreplay.effects import given_names
from eptreplay.errors import EptReplayError
from eptreplay.request import ReplayRequest
from eptreplay.safe_text import printable
from eptreplay.streams import standard_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

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
def replay(
    context: typer.Context,
    traces: cli_options.Traces,
    profile: cli_options.ProfileSpecs = ["ept-ad", "ept-emul", "x86"],  # noqa: B006 - typer copies it
    out: cli_options.RunOut = Path("reports/run"),
    overwrite: cli_options.Overwrite = False,
    policy: cli_options.SweepPolicy = "plain",
    every: cli_options.SweepDistance = "1M",
    intervals: cli_options.Intervals = 256,
    page_accesses: cli_options.PageAccesses = False,
    slow_path: cli_options.SlowPath = False,
    mrc: cli_options.MissRatioMethod = "shards",
    tlb: cli_options.WithTlbs = False,
    guest_pages: cli_options.GuestPages = "4K",
    paging_structures: cli_options.PagingStructures = 0,
    bandwidth: cli_options.Bandwidths = None,
    downtime: cli_options.Downtime = "300ms",
    host_memory: cli_options.HostMemory = None,
    placement: cli_options.Placement = None,
    scan_interval: cli_options.ScanInterval = None,
    fragmentation: cli_options.Fragmentation = None,
    align: cli_options.Align = None,
    swap_read: cli_options.SwapRead = "100us",
    swap_write: cli_options.SwapWrite = "100us",
    vcpus: cli_options.Vcpus = None,
    idle_gap: cli_options.IdleGap = "1ms",
    check_conservation: cli_options.CheckConservation = False,
    on_bad_rows: cli_options.OnBadRows = "fail",
    jobs: cli_options.Jobs = 0,
    open_page: cli_options.Open = False,
) -> None:
    """Replay traces under one or several CPU profiles and write tables and pages."""
    values = dict(locals())  # every parameter under its name
    del values["context"]
    from eptreplay import commands  # noqa: PLC0415 - help must not wait for numba and polars

    raise typer.Exit(commands.replay(ReplayRequest(**values, given=given_names(context))))


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
    slow_path: cli_options.SlowPath = False,
    tlb: cli_options.WithTlbs = False,
) -> None:
    """Replay what a real FreeBSD kernel did and compare every answer; exit code 1 on any difference."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(
        commands.conform(
            folder,
            traces,
            frozenset(sequence) if sequence else None,
            slow_path=slow_path,
            tlb=tlb,
            given=given_names(context),
        )
    )


@app.command(short_help="Check every row of traces.", epilog="Example:  eptreplay check traces/*.parquet")
def check(traces: cli_options.Traces, on_bad_rows: cli_options.OnBadRows = "fail") -> None:
    """Read every row of traces, check it against every rule, and say what is in them."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.check(traces, on_bad_rows))


@app.command(
    short_help="Render the pages of a run again.",
    epilog="Example:  eptreplay report reports/run --assume clock_mhz=3200 --open",
)
def report(
    run: cli_options.RunFolder, assume: cli_options.Assumed = None, open_page: cli_options.Open = False
) -> None:
    """Render the pages of a run again, from its tables alone."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.report(run, assume or [], open_page=open_page))


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
    out: cli_options.RunOut = Path("reports/compare"),
    overwrite: cli_options.Overwrite = False,
    assume: cli_options.Assumed = None,
    open_page: cli_options.Open = False,
) -> None:
    """Compare two runs of the same guests: the pages of a run, with the profiles of both side by side."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(
        commands.compare(first, second, out, assume or [], overwrite=overwrite, open_page=open_page)
    )


@app.command(
    short_help="Print the essentials of a run.",
    epilog="Example:  eptreplay summary reports/run --guest web-1vcpu",
)
def summary(
    run: cli_options.RunFolder,
    guest: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Tell of this guest; may be given several times."),
    ] = None,
    assume: cli_options.Assumed = None,
) -> None:
    """Print the essentials of a run: what each guest cost, and where its accesses went, as a map of characters."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.summary(run, guest or [], assume or []))


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
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.bench(traces, runs, as_json=as_json))


@profiles_app.command("list", short_help="List all profiles.")
def profiles_list() -> None:
    """List all profiles: what bhyve would make of each CPU, and how sure the facts are."""
    from eptreplay import commands  # noqa: PLC0415

    commands.profiles_list()


@profiles_app.command(
    "show", short_help="Explain one profile.", epilog="Example:  eptreplay profiles show haswell:ad=off"
)
def profiles_show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Profile, with or without overrides.")],
) -> None:
    """Explain one profile: every fact with its source, and what follows for the page tables."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.profiles_show(name))


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
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.profiles_from_msr(value))


def main() -> None:
    """Run the command line; errors that eptreplay raises on purpose become one line and an exit code."""
    with standard_streams():
        _run()


def _run() -> None:
    """Run the command line with signals raised where they can be told of."""
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
    told = "; ".join(map(printable, notes)) or "nothing was written"
    sys.stderr.write(f"eptreplay: interrupted by {name}; {told}\n")
    sys.exit(signals.EXIT_BASE + number)
