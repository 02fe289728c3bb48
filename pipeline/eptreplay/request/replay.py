"""What `replay` was asked for, word by word, and the options that it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eptreplay.analysis.migration import Link
    from eptreplay.request.host import HostOptions
    from eptreplay.request.options import Options


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The arguments and options of `replay` under their names, as given; None where nothing was given.

    `given` names those that stand on the command line, also where they say what holds anyway.
    """

    traces: Sequence[str]
    profile: Sequence[str]
    out: Path
    overwrite: bool
    policy: Literal["plain", "age", "harvest"]
    every: str
    intervals: int
    page_accesses: bool
    slow_path: bool
    mrc: Literal["intervals", "shards", "exact"]
    tlb: bool
    guest_pages: Literal["4K", "2M"]
    paging_structures: int
    bandwidth: Sequence[float] | None
    downtime: str
    host_memory: str | None
    placement: Literal["reservation", "identity"] | None
    scan_interval: str | None
    fragmentation: float | None
    align: Literal["start", "clock"] | None
    swap_read: str
    swap_write: str
    vcpus: Literal["always", "activity"] | None
    idle_gap: str
    check_conservation: bool
    on_bad_rows: Literal["fail", "skip"]
    jobs: int
    open_page: bool
    given: frozenset[str] = frozenset()

    def options(self) -> Options:
        """Return how traces are to be replayed.

        Raises:
            UsageError: a size, time or distance is none.
        """
        from eptreplay.request.choices import MissRatio, Policy  # noqa: PLC0415 - help must not wait for numba
        from eptreplay.request.options import Options, TlbOptions  # noqa: PLC0415 - help must not wait for numba
        from eptreplay.units import parse_every  # noqa: PLC0415

        return Options(
            policy=Policy(self.policy),
            every=parse_every(self.every),
            intervals=self.intervals,
            page_accesses=self.page_accesses,
            slow_path=self.slow_path,
            mrc=MissRatio(self.mrc),
            tlb=TlbOptions(self.guest_pages == "2M", self.paging_structures) if self.tlb else None,
            link=self._link(),
            on_bad_rows=self.on_bad_rows,
            host=self._host(),
        )

    def _host(self) -> HostOptions | None:
        """Return the host that guests share; None if nothing about it was asked for."""
        from eptreplay.request.host import Align, HostOptions, Placement, VcpuModel  # noqa: PLC0415
        from eptreplay.units import parse_duration, parse_every, parse_size  # noqa: PLC0415

        asked = (
            self.host_memory,
            self.placement,
            self.scan_interval,
            self.fragmentation,
            self.align,
            self.vcpus,
        )
        if all(option is None for option in asked) and not self.check_conservation:
            return None
        return HostOptions(
            memory=None if self.host_memory is None else parse_size(self.host_memory),
            placement=Placement(self.placement or "reservation"),
            scan_interval=None if self.scan_interval is None else parse_every(self.scan_interval),
            fragmentation=self.fragmentation or 0.0,
            align=Align(self.align or "start"),
            swap_read_ns=parse_duration(self.swap_read),
            swap_write_ns=parse_duration(self.swap_write),
            vcpus=VcpuModel(self.vcpus or "always"),
            idle_gap_ns=parse_duration(self.idle_gap),
            check=self.check_conservation,
        )

    def _link(self) -> Link:
        """Return what migrations are estimated with."""
        from eptreplay.analysis.migration import GBIT, Link  # noqa: PLC0415
        from eptreplay.units import parse_duration  # noqa: PLC0415

        downtime_ns = parse_duration(self.downtime)
        if not self.bandwidth:
            return Link(downtime_ns=downtime_ns)
        bandwidths = sorted({round(bandwidth * GBIT) for bandwidth in self.bandwidth})
        return Link(tuple(bandwidths), downtime_ns)
