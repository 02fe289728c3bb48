"""Every option of `replay`, declared once, and what a request means: the options that a replay takes.

There is no `from __future__ import annotations` here: the annotations are the types of the options.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from eptreplay.errors import UsageError
from eptreplay.request.choices import MissRatio, OnBadRows, Policy, ReleaseName
from eptreplay.request.host import Align, HostOptions, Placement, VcpuModel
from eptreplay.request.link import DEFAULT_BANDWIDTHS, GBIT, Link
from eptreplay.request.needs import (
    ACTIVITY,
    HOST_OPTIONS,
    LIMITED_MEMORY,
    NO_RELEASE_NAMED,
    OWN_HOSTS,
    RESERVATIONS,
    SHARED_HOST,
    SHARED_RESERVATIONS,
    SWEEPS,
    TLB,
)
from eptreplay.request.option import ALWAYS, option, options_of
from eptreplay.request.options import Options, TlbOptions
from eptreplay.request.values import FASTEST, SLOWEST, clock_rate, path, share, speed
from eptreplay.units import parse_duration, parse_every, parse_size


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The arguments and options of `replay` under their names, as given; None where nothing was given.

    `given` names those that were given, also where they say what holds anyway.
    """

    traces: Sequence[str] = field(
        metadata=option(
            "Parquet files, folders (also with guest=NAME/ inside) or globs, or URLs of them (s3://, gs://, abfss://, https://).",
            needs=ALWAYS,
            positional=True,
            metavar="TRACE",
        )
    )
    guest: Sequence[str] | None = field(
        default=None,
        metadata=option(
            "Replay only guests of this name, or whose names fit a pattern, as in 'web-*'; may be given several times.",
            needs=ALWAYS,
            metavar="NAME",
            unset="all",
        ),
    )
    profile: Sequence[str] = field(
        default=("ept-ad", "ept-emul", "x86"),
        metadata=option(
            "CPU feature profile, as in haswell, haswell@14.0 or haswell:superpages=off,ad=off; may be given several times.",
            needs=ALWAYS,
            short="-p",
            metavar="NAME[@RELEASE][:KEY=on|off,...]",
        ),
    )
    release: Sequence[ReleaseName] | None = field(
        default=None,
        metadata=option(
            "FreeBSD whose rules hold: 10.0, 14.0 (of July 2022), or 14-later (October 2023); may be given several times. A profile "
            "can name its own, as in haswell@14.0.",
            needs=NO_RELEASE_NAMED,
            unset=ReleaseName.FREEBSD_10_0,
        ),
    )
    out: Path = field(
        default=Path("reports/run"),
        metadata=option("Folder for the tables and pages.", needs=ALWAYS, metavar="DIR", parse=path),
    )
    overwrite: bool = field(
        default=False,
        metadata=option("Replace an older run in DIR.", needs=ALWAYS),  # a permission
    )
    resume: bool = field(
        default=False,
        metadata=option(
            "Go on with a run into DIR that was interrupted; without one, begin it.",
            needs=ALWAYS,  # without an unfinished run, too: schedulers give it always
            in_plan=False,
        ),
    )
    policy: Policy = field(
        default=Policy.PLAIN,
        metadata=option(
            "What the host does at every sweep: nothing, age all pages, or collect dirty pages.",
            needs=ALWAYS,
        ),
    )
    every: str = field(
        default="1M",
        metadata=option(
            "Distance between sweeps: rows (1M) or trace time (10ms).", needs=SWEEPS, metavar="N|TIME"
        ),
    )
    intervals: int = field(
        default=256,
        metadata=option(
            "Intervals of equal trace time in the tables.",
            needs=ALWAYS,
            minimum=1,
            maximum=1 << 20,
            unit="intervals",
        ),
    )
    page_accesses: bool = field(
        default=False,
        metadata=option(
            "Count the accesses of every page exactly: about a fifth more time.",
            needs=ALWAYS,
        ),
    )
    slow_path: bool = field(
        default=False,
        metadata=option(
            "Let the models make every access, also those known to change nothing: the same answers, slowly.",
            needs=ALWAYS,
        ),
    )
    mrc: MissRatio = field(
        default=MissRatio.SHARDS,
        metadata=option(
            "Miss-ratio curve: from a sample of the pages, with its error; exactly, for a quarter more time and up; or "
            "only the bounds that intervals give.",
            needs=ALWAYS,
        ),
    )
    tlb: bool = field(
        default=False,
        metadata=option(
            "Model the TLBs of every profile's CPU, and the cost of page walks.", needs=OWN_HOSTS
        ),
    )
    guest_pages: Literal["4K", "2M"] = field(
        default="4K",
        metadata=option(
            "Size of the guest's own pages, which a trace does not tell (with --tlb).",
            needs=TLB,
        ),
    )
    paging_structures: int = field(
        default=0,
        metadata=option(
            "Entries of each paging-structure cache; 0: none (with --tlb).",
            needs=TLB,
            minimum=0,
            maximum=1024,
            unit="entries",
        ),
    )
    bandwidth: Sequence[float] | None = field(
        default=None,
        metadata=option(
            "Estimate a live migration over a link of so many Gbit/s, from 0.001 to 1000; may be given several times.",
            needs=ALWAYS,
            metavar="GBIT/S",
            minimum=SLOWEST,
            maximum=FASTEST,
            parse=speed,
            unit="Gbit/s",
            unset=", ".join(f"{bandwidth / GBIT:g}" for bandwidth in DEFAULT_BANDWIDTHS),
        ),
    )
    downtime: str = field(
        default="300ms",
        metadata=option("The longest pause a migration may take.", needs=ALWAYS, metavar="TIME"),
    )
    host_memory: str | None = field(
        default=None,
        metadata=option(
            "Memory of one host that all guests share, as in 512M: its page daemon runs, pages are swapped.",
            needs=ALWAYS,
            metavar="SIZE",
            unset="enough",
        ),
    )
    placement: Placement | None = field(
        default=None,
        metadata=option(
            "Where guest pages go: 2 MB reservations while whole blocks are free, or each to a frame of its own "
            "for good, as in recorded replays.",
            needs=ALWAYS,
            unset=HostOptions().placement,
        ),
    )
    scan_interval: str | None = field(
        default=None,
        metadata=option(
            "Distance between scans that age pages though nothing is missing: rows or trace time (1s).",
            needs=ALWAYS,
            metavar="N|TIME",
            unset="no such scans",
        ),
    )
    fragmentation: float | None = field(
        default=None,
        metadata=option(
            "Share of the host's 2 MB blocks that cannot be reserved, from 0 to 1: somebody else has the last frame of each.",
            needs=RESERVATIONS,
            metavar="SHARE",
            minimum=0,
            maximum=1,
            parse=share,
            unit="of all blocks",
            unset=f"{HostOptions().fragmentation:g}",
        ),
    )
    host_offset: int = field(
        default=0,
        metadata=option(
            "How many pages behind a multiple of 2 MB the hypervisor process maps a guest's address 0: if not 0, memory that "
            "the process touches first gets no superpages.",
            needs=SHARED_RESERVATIONS,
            metavar="PAGES",
            minimum=0,
            maximum=511,
            unit="pages",
        ),
    )
    align: Align | None = field(
        default=None,
        metadata=option(
            "Put the times of several guests together: all begin at once, or all count on one clock.",
            needs=ALWAYS,  # and several guests, which only the traces show: run/effects.py
            unset=HostOptions().align,
        ),
    )
    swap_read: str = field(
        default="100us",
        metadata=option("Assumed time of a read from swap.", needs=LIMITED_MEMORY, metavar="TIME"),
    )
    swap_write: str = field(
        default="100us",
        metadata=option("Assumed time of a write to swap.", needs=LIMITED_MEMORY, metavar="TIME"),
    )
    vcpus: VcpuModel | None = field(
        default=None,
        metadata=option(
            "When vCPUs count as running, where the trace does not tell: always, or from their first to their last "
            "access but for idle gaps.",
            needs=ALWAYS,
            unset=HostOptions().vcpus,
        ),
    )
    idle_gap: str = field(
        default="1ms",
        metadata=option(
            "Gap across which a vCPU counts as halted (--vcpus activity).", needs=ACTIVITY, metavar="TIME"
        ),
    )
    check_conservation: bool = field(
        default=False,
        metadata=option(
            "Check after every scan that no page of the host is lost or shared (slow).", needs=SHARED_HOST
        ),
    )
    clock_mhz: float | None = field(
        default=None,
        metadata=option(
            "Rate of the clock of traces that count cycles, in MHz: cycles of a microsecond.",
            needs=ALWAYS,  # and a trace that counts cycles, which only the traces show: run/effects.py
            metavar="MHZ",
            minimum=0.001,
            maximum=1_000_000,
            parse=clock_rate,
            unit="MHz",
            unset="what metadata or guest.toml say",
        ),
    )
    on_bad_rows: OnBadRows = field(
        default="fail",
        metadata=option(
            "What to do at a row that breaks a rule: end with an error, or leave it out and count it.",
            needs=ALWAYS,
        ),
    )
    jobs: int = field(
        default=0,
        metadata=option(
            "Threads, for guests side by side and, if there are more, for shares of each guest's memory; 0: one a CPU.",
            needs=ALWAYS,
            short="-j",
            minimum=0,
            unit="threads",
        ),
    )
    checkpoint_every: str = field(
        default="256M",
        metadata=option(
            "Rows of a guest after which what is known of it is kept, so that --resume goes on from there; 0: never.",
            needs=OWN_HOSTS,
            metavar="N",
        ),
    )
    workers: int = field(
        default=0,
        metadata=option(
            "Processes that replay guests, each on its share of the threads, so that a guest that kills its process costs "
            "no other; 0: threads of one process.",
            needs=ALWAYS,
            minimum=0,
            maximum=1024,
            unit="processes",
        ),
    )
    open_page: bool = field(
        default=False,
        metadata=option("Open the page in a browser.", needs=ALWAYS, flag="--open", in_plan=False),
    )
    print_plan: bool = field(
        default=False,
        metadata=option(
            "Print the plan of this command line, for 'eptreplay batch', and replay nothing.",
            needs=ALWAYS,
            in_plan=False,
        ),
    )
    given: frozenset[str] = frozenset()

    def options(self) -> Options:
        """Return how traces are to be replayed.

        Raises:
            UsageError: a size, time or distance is none.
        """
        self.checkpoint_rows()
        return Options(
            policy=self.policy,
            every=parse_every(self.every),
            intervals=self.intervals,
            page_accesses=self.page_accesses,
            slow_path=self.slow_path,
            mrc=self.mrc,
            tlb=TlbOptions(self.guest_pages == "2M", self.paging_structures) if self.tlb else None,
            link=self._link(),
            on_bad_rows=self.on_bad_rows,
            host=self._host(),
        )

    def checkpoint_rows(self) -> int:
        """Return the rows between two checkpoints; 0: there are none.

        Raises:
            UsageError: it is no number of rows.
        """
        if self.checkpoint_every.strip() == "0":
            return 0
        every = parse_every(self.checkpoint_every)
        if every.timed:
            raise UsageError(
                f"'{self.checkpoint_every}' is a time; give rows between two checkpoints, as in 256M, or 0"
            )
        return every.amount

    def given_of_host(self) -> list[str]:
        """Return the names of the options that put all guests on one host and have a value."""
        return [name for name in HOST_OPTIONS if getattr(self, name) is not None]

    def _host(self) -> HostOptions | None:
        """Return the host that guests share; None if no option of it was given."""
        if not self.given_of_host() and not self.check_conservation:
            return None
        usual = HostOptions()
        return HostOptions(
            memory=None if self.host_memory is None else parse_size(self.host_memory),
            placement=self.placement or usual.placement,
            scan_interval=None if self.scan_interval is None else parse_every(self.scan_interval),
            fragmentation=self.fragmentation or usual.fragmentation,
            host_offset=self.host_offset,
            align=self.align or usual.align,
            swap_read_ns=parse_duration(self.swap_read),
            swap_write_ns=parse_duration(self.swap_write),
            vcpus=self.vcpus or usual.vcpus,
            idle_gap_ns=parse_duration(self.idle_gap),
            check=self.check_conservation,
        )

    def _link(self) -> Link:
        """Return what migrations are estimated with."""
        downtime_ns = parse_duration(self.downtime)
        if not self.bandwidth:
            return Link(downtime_ns=downtime_ns)
        bandwidths = sorted({round(bandwidth * GBIT) for bandwidth in self.bandwidth})
        return Link(tuple(bandwidths), downtime_ns)


REPLAY = options_of(ReplayRequest)
"""The options of `replay` by name."""
