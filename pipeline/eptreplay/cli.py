"""The command line: thin commands over the library; options that several commands share are declared once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from eptreplay import __version__
from eptreplay.errors import EptReplayError, Exit

app = typer.Typer(
    name="eptreplay",
    help="Replay guest memory traces through an exact model of FreeBSD's nested page tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
profiles_app = typer.Typer(help="List, explain and decode CPU feature profiles.", no_args_is_help=True)
app.add_typer(profiles_app, name="profiles", short_help="List and explain CPU profiles.")

Traces = Annotated[
    list[str],
    typer.Argument(metavar="TRACE", help="Parquet files, folders (also with guest=NAME/ inside) or globs."),
]
ProfileSpecs = Annotated[
    list[str],
    typer.Option(
        "--profile",
        "-p",
        metavar="NAME[:KEY=on|off,...]",
        help="CPU feature profile, as in haswell or haswell:superpages=off,ad=off; may be given several times.",
    ),
]
OnBadRows = Annotated[
    Literal["fail", "skip"],
    typer.Option(
        help="What to do at a row that breaks a rule: end with an error, or leave it out and count it."
    ),
]

Assumed = Annotated[
    list[str] | None,
    typer.Option(
        "--assume",
        metavar="NAME=VALUE",
        help="What an event costs, as in ipi_cycles=3000, or with its range, as in ipi_cycles=1000..3000 or "
        "ipi_cycles=1000..1500..3000; may be given several times. The pages list all names.",
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in a browser.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an older run in DIR.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that 'replay --out' wrote.")]


SlowPath = Annotated[
    bool,
    typer.Option(
        "--slow-path",
        help="Let the models make every access, also those known to change nothing: the same answers, slowly.",
    ),
]


WithTlbs = Annotated[
    bool, typer.Option("--tlb", help="Model the TLBs of every profile's CPU, and the cost of page walks.")
]


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
    traces: Traces,
    profile: ProfileSpecs = ["ept-ad", "ept-emul", "x86"],  # noqa: B006 - typer copies it
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the tables and pages.")] = Path(
        "reports/run"
    ),
    overwrite: Overwrite = False,
    policy: Annotated[
        Literal["plain", "age", "harvest"],
        typer.Option(
            help="What the host does at every sweep: nothing, age all pages, or collect dirty pages."
        ),
    ] = "plain",
    every: Annotated[
        str, typer.Option(metavar="N|TIME", help="Distance between sweeps: rows (1M) or trace time (10ms).")
    ] = "1M",
    intervals: Annotated[
        int, typer.Option(min=1, max=1 << 20, help="Intervals of equal trace time in the tables.")
    ] = 256,
    page_accesses: Annotated[
        bool,
        typer.Option(
            "--page-accesses", help="Count the accesses of every page exactly: about a fifth more time."
        ),
    ] = False,
    slow_path: SlowPath = False,
    mrc: Annotated[
        Literal["intervals", "shards", "exact"],
        typer.Option(
            help="Miss-ratio curve: from a sample of the pages, with its error; exactly, for a quarter more time and up; or "
            "only the bounds that intervals give."
        ),
    ] = "shards",
    tlb: WithTlbs = False,
    guest_pages: Annotated[
        Literal["4K", "2M"],
        typer.Option(help="Size of the guest's own pages, which a trace does not tell (with --tlb)."),
    ] = "4K",
    paging_structures: Annotated[
        int,
        typer.Option(min=0, max=1024, help="Entries of each paging-structure cache; 0: none (with --tlb)."),
    ] = 0,
    bandwidth: Annotated[
        list[float] | None,
        typer.Option(
            metavar="GBIT/S",
            min=0.001,
            max=1000,
            help="Estimate a live migration over a link of so many Gbit/s; may be given several times.  "
            "[default: 1, 2.5, 10, 25, 100]",
        ),
    ] = None,
    downtime: Annotated[
        str, typer.Option(metavar="TIME", help="The longest pause a migration may take.")
    ] = "300ms",
    host_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory of one host that all guests share, as in 512M: its page daemon runs, pages are swapped.  "
            "[default: enough]",
        ),
    ] = None,
    placement: Annotated[
        Literal["reservation", "identity"] | None,
        typer.Option(
            help="Where guest pages go: 2 MB reservations while whole blocks are free, or each to a frame of its own "
            "for good, as in recorded replays.  [default: reservation]",
        ),
    ] = None,
    scan_interval: Annotated[
        str | None,
        typer.Option(
            metavar="N|TIME",
            help="Distance between scans that age pages though nothing is missing: rows or trace time (1s).  "
            "[default: no such scans]",
        ),
    ] = None,
    fragmentation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Share of the host's 2 MB blocks that cannot be reserved.  [default: 0]",
        ),
    ] = None,
    align: Annotated[
        Literal["start", "clock"] | None,
        typer.Option(
            help="Put the times of several guests together: all begin at once, or all count on one clock.  "
            "[default: start]",
        ),
    ] = None,
    swap_read: Annotated[
        str, typer.Option(metavar="TIME", help="Assumed time of a read from swap.")
    ] = "100us",
    swap_write: Annotated[
        str, typer.Option(metavar="TIME", help="Assumed time of a write to swap.")
    ] = "100us",
    vcpus: Annotated[
        Literal["always", "activity"] | None,
        typer.Option(
            help="When vCPUs count as running, where the trace does not tell: always, or from their first to their last "
            "access but for idle gaps.  [default: always]",
        ),
    ] = None,
    idle_gap: Annotated[
        str, typer.Option(metavar="TIME", help="Gap across which a vCPU counts as halted (--vcpus activity).")
    ] = "1ms",
    check_conservation: Annotated[
        bool,
        typer.Option(
            "--check-conservation",
            help="Check after every scan that no page of the host is lost or shared (slow).",
        ),
    ] = False,
    on_bad_rows: OnBadRows = "fail",
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", min=0, help="Threads, for guests side by side and decoding ahead; 0: one a CPU."
        ),
    ] = 0,
    open_page: Open = False,
) -> None:
    """Replay traces under one or several CPU profiles and write tables and pages."""
    from eptreplay import commands  # noqa: PLC0415 - help must not wait for numba and polars

    request = commands.ReplayRequest(
        traces=traces,
        profiles=profile,
        out=out,
        overwrite=overwrite,
        policy=policy,
        every=every,
        intervals=intervals,
        page_accesses=page_accesses,
        slow_path=slow_path,
        mrc=mrc,
        tlb=tlb,
        guest_pages=guest_pages,
        paging_structures=paging_structures,
        bandwidths=bandwidth,
        downtime=downtime,
        on_bad_rows=on_bad_rows,
        jobs=jobs,
        open_page=open_page,
        host=commands.HostRequest(
            memory=host_memory,
            placement=placement,
            scan_interval=scan_interval,
            fragmentation=fragmentation,
            align=align,
            swap_read=swap_read,
            swap_write=swap_write,
            vcpus=vcpus,
            idle_gap=idle_gap,
            check=check_conservation,
        ),
    )
    raise typer.Exit(commands.replay(request))


@app.command(
    short_help="Compare with what a real kernel did.",
    epilog="Example:  eptreplay conform vectors/    eptreplay conform golden/ --traces traces/",
)
def conform(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of vectors or golden replays.")],
    traces: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the traces that golden replays name.")
    ] = None,
    sequence: Annotated[
        list[int] | None,
        typer.Option(help="Replay only this sequence of vectors; may be given several times."),
    ] = None,
    slow_path: SlowPath = False,
    tlb: WithTlbs = False,
) -> None:
    """Replay what a real FreeBSD kernel did and compare every answer; exit code 1 on any difference."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(
        commands.conform(
            folder, traces, frozenset(sequence) if sequence else None, slow_path=slow_path, tlb=tlb
        )
    )


@app.command(short_help="Check every row of traces.", epilog="Example:  eptreplay check traces/*.parquet")
def check(traces: Traces, on_bad_rows: OnBadRows = "fail") -> None:
    """Read every row of traces, check it against every rule, and say what is in them."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.check(traces, on_bad_rows))


@app.command(
    short_help="Render the pages of a run again.",
    epilog="Example:  eptreplay report reports/run --assume clock_mhz=3200 --open",
)
def report(run: RunFolder, assume: Assumed = None, open_page: Open = False) -> None:
    """Render the pages of a run again, from its tables alone."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.report(run, assume or [], open_page=open_page))


@app.command(
    short_help="Compare two runs on the same pages.",
    epilog="Example:  eptreplay compare reports/before reports/after --out reports/compare --open",
)
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Folder that 'replay --out' wrote.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one, of the same guests.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the tables and pages.")] = Path(
        "reports/compare"
    ),
    overwrite: Overwrite = False,
    assume: Assumed = None,
    open_page: Open = False,
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
    run: RunFolder,
    guest: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Tell of this guest; may be given several times."),
    ] = None,
    assume: Assumed = None,
) -> None:
    """Print the essentials of a run: what each guest cost, and where its accesses went, as a map of characters."""
    from eptreplay import commands  # noqa: PLC0415

    raise typer.Exit(commands.summary(run, guest or [], assume or []))


@app.command(
    short_help="Measure what replays cost.",
    epilog="Example:  eptreplay bench traces/web-1vcpu.parquet --json",
)
def bench(
    traces: Annotated[list[Path], typer.Argument(metavar="TRACE", help="Parquet files to measure on.")],
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
    try:
        app()
    except EptReplayError as error:
        sys.stderr.write(f"eptreplay: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("eptreplay: interrupted; nothing was written\n")
        sys.exit(Exit.INTERRUPTED)
