"""One host and its guests: how much memory it has, and the rows of all guests in one order of time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import UsageError
from eptreplay.model.vm_limits import HostMemory, limits
from eptreplay.model.worlds import page_table_pages
from eptreplay.units import binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.model.worlds import GuestMemory
    from eptreplay.units import Every

PAGE_BYTES = 4096
BLOCK_PAGES = 512
PAGES_A_VCPU = 2
"""Pages that a vCPU needs at once: an access that crosses a page takes two."""
PATH_TABLES = 4
"""Page-table pages that a guest needs for its first page."""


class Placement(StrEnum):
    """Which frame of the host a guest page gets."""

    RESERVATION = "reservation"
    IDENTITY = "identity"


class VcpuModel(StrEnum):
    """When vCPUs count as running."""

    ALWAYS = "always"
    ACTIVITY = "activity"


class Align(StrEnum):
    """How the clocks of several traces are put together."""

    START = "start"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class HostOptions:
    """The host that all guests of a run share.

    Args:
        memory: bytes for guests and their page tables; None: enough for all.
        placement: which frame a guest page gets.
        scan_interval: distance between idle scans of the page daemon; None without them.
        fragmentation: share of the 2 MB blocks that cannot be reserved, 0 to 1.
        align: whether every trace begins at time 0, or all traces count on one clock.
        swap_read_ns, swap_write_ns: what a page costs that is read from swap, and what a write to swap of one
            page or a cluster of neighbours costs, ns.
        vcpus: when vCPUs count as running, for guests whose traces do not tell.
        idle_gap_ns: gap between its accesses across which a vCPU counts as halted, unless guest.toml says another.
        check: check after every scan that no page is lost, shared, or in two places.
    """

    memory: int | None = None
    placement: Placement = Placement.RESERVATION
    scan_interval: Every | None = None
    fragmentation: float = 0.0
    align: Align = Align.START
    swap_read_ns: int = 100_000
    swap_write_ns: int = 100_000
    vcpus: VcpuModel = VcpuModel.ALWAYS
    idle_gap_ns: int = 1_000_000
    check: bool = False

    def described(self) -> dict[str, object]:
        """Return the options as run.json has them."""
        return {
            "memory_bytes": self.memory,
            "placement": str(self.placement),
            "scan_interval": None if self.scan_interval is None else str(self.scan_interval),
            "fragmentation": self.fragmentation,
            "align": str(self.align),
            "swap_read_ns": self.swap_read_ns,
            "swap_write_ns": self.swap_write_ns,
            "vcpus": str(self.vcpus),
            "idle_gap_ns": self.idle_gap_ns,
        }


class Need(NamedTuple):
    """The least memory that guests can run in, in pages."""

    wired: int
    page_tables: int
    free_target: int
    at_once: int

    @property
    def total(self) -> int:
        """Return the sum."""
        return sum(self)

    def __str__(self) -> str:
        """Return the arithmetic."""
        return (
            f"{self.wired:,} pages of wired guest memory + at least {self.page_tables:,} page-table pages"
            f" + {self.free_target:,} that the page daemon keeps free + {self.at_once:,} for the vCPUs"
            f" = {self.total:,} pages, {binary_size(self.total * PAGE_BYTES)}"
        )


def host_memory(options: HostOptions, guests: Sequence[GuestMemory], wired_pages: int = 0) -> HostMemory:
    """Return the memory of the host that the options ask for.

    Raises:
        UsageError: it is less than the guests need.
    """
    identity = options.placement is Placement.IDENTITY
    if options.memory is None:
        if identity:
            return HostMemory()
        frames = _ample(guests)
    else:
        frames = options.memory // PAGE_BYTES
        need = least_need(frames, guests, wired_pages)
        if frames < need.total:
            raise UsageError(
                f"--host-memory is {frames:,} pages ({binary_size(options.memory)}), but the guests need {need};"
                " give more, with a unit as in 512M"
            )
    return HostMemory(
        frames=frames,
        identity=identity,
        unusable=round(options.fragmentation * (frames // BLOCK_PAGES)),
        page_tables_count=not identity,
    )


def least_need(frames: int, guests: Sequence[GuestMemory], wired_pages: int) -> Need:
    """Return the least memory that guests can run in on a host of so many frames."""
    return Need(
        wired_pages,
        PATH_TABLES * len(guests),
        limits(frames).v_free_target,
        PAGES_A_VCPU * sum(guest.vcpus for guest in guests),
    )


def _ample(guests: Sequence[GuestMemory]) -> int:
    """Return frames enough for whole blocks of all guest memory, page tables, and what the page daemon keeps free."""
    blocks = sum(
        int(-(-end // BLOCK_PAGES) - begin // BLOCK_PAGES)
        for guest in guests
        for begin, end in guest.ram_pages
    )
    need = blocks * BLOCK_PAGES + sum(page_table_pages(guest) for guest in guests)
    frames = need
    while frames - limits(frames).v_free_target < need:
        frames = need + limits(frames).v_free_target
    return frames
