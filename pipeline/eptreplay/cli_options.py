"""The arguments and options of the command line, each declared once, as typer takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from eptreplay.cli_values import path, share, speed

# Of several commands.

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

RunFolder = Annotated[
    Path, typer.Argument(parser=path, metavar="RUN", help="Folder that 'replay --out' wrote.")
]

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

# Of `replay`.

RunOut = Annotated[Path, typer.Option(parser=path, metavar="DIR", help="Folder for the tables and pages.")]

SweepPolicy = Annotated[
    Literal["plain", "age", "harvest"],
    typer.Option(help="What the host does at every sweep: nothing, age all pages, or collect dirty pages."),
]

SweepDistance = Annotated[
    str, typer.Option(metavar="N|TIME", help="Distance between sweeps: rows (1M) or trace time (10ms).")
]

Intervals = Annotated[
    int, typer.Option(min=1, max=1 << 20, help="Intervals of equal trace time in the tables.")
]

PageAccesses = Annotated[
    bool,
    typer.Option(
        "--page-accesses", help="Count the accesses of every page exactly: about a fifth more time."
    ),
]

MissRatioMethod = Annotated[
    Literal["intervals", "shards", "exact"],
    typer.Option(
        help="Miss-ratio curve: from a sample of the pages, with its error; exactly, for a quarter more time and up; or "
        "only the bounds that intervals give."
    ),
]

GuestPages = Annotated[
    Literal["4K", "2M"],
    typer.Option(help="Size of the guest's own pages, which a trace does not tell (with --tlb)."),
]

PagingStructures = Annotated[
    int,
    typer.Option(min=0, max=1024, help="Entries of each paging-structure cache; 0: none (with --tlb)."),
]

Bandwidths = Annotated[
    list[float] | None,
    typer.Option(
        parser=speed,
        metavar="GBIT/S",
        help="Estimate a live migration over a link of so many Gbit/s, from 0.001 to 1000; may be given several times.  "
        "[default: 1, 2.5, 10, 25, 100]",
    ),
]

Downtime = Annotated[str, typer.Option(metavar="TIME", help="The longest pause a migration may take.")]

HostMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory of one host that all guests share, as in 512M: its page daemon runs, pages are swapped.  "
        "[default: enough]",
    ),
]

Placement = Annotated[
    Literal["reservation", "identity"] | None,
    typer.Option(
        help="Where guest pages go: 2 MB reservations while whole blocks are free, or each to a frame of its own "
        "for good, as in recorded replays.  [default: reservation]",
    ),
]

ScanInterval = Annotated[
    str | None,
    typer.Option(
        metavar="N|TIME",
        help="Distance between scans that age pages though nothing is missing: rows or trace time (1s).  "
        "[default: no such scans]",
    ),
]

Fragmentation = Annotated[
    float | None,
    typer.Option(
        parser=share,
        metavar="SHARE",
        help="Share of the host's 2 MB blocks that cannot be reserved, from 0 to 1.  [default: 0]",
    ),
]

Align = Annotated[
    Literal["start", "clock"] | None,
    typer.Option(
        help="Put the times of several guests together: all begin at once, or all count on one clock.  "
        "[default: start]",
    ),
]

SwapRead = Annotated[str, typer.Option(metavar="TIME", help="Assumed time of a read from swap.")]

SwapWrite = Annotated[str, typer.Option(metavar="TIME", help="Assumed time of a write to swap.")]

Vcpus = Annotated[
    Literal["always", "activity"] | None,
    typer.Option(
        help="When vCPUs count as running, where the trace does not tell: always, or from their first to their last "
        "access but for idle gaps.  [default: always]",
    ),
]

IdleGap = Annotated[
    str, typer.Option(metavar="TIME", help="Gap across which a vCPU counts as halted (--vcpus activity).")
]

CheckConservation = Annotated[
    bool,
    typer.Option(
        "--check-conservation",
        help="Check after every scan that no page of the host is lost or shared (slow).",
    ),
]

Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        min=0,
        help="Threads, for guests side by side and, if there are more, for shares of each guest's memory; 0: one a CPU.",
    ),
]
