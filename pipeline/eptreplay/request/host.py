"""The options of a host that guests share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eptreplay.units import Every


class Placement(StrEnum):
    """How the host chooses the frame of a guest page."""

    RESERVATION = "reservation"
    IDENTITY = "identity"


class VcpuModel(StrEnum):
    """When vCPUs count as running."""

    ALWAYS = "always"
    ACTIVITY = "activity"


class Align(StrEnum):
    """How the clocks of several traces are aligned."""

    START = "start"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class HostOptions:
    """The host that all guests of a run share.

    Args:
        memory: bytes for guests and their page tables; None: enough for all.
        placement: how the host chooses the frame of a guest page.
        scan_interval: distance between idle scans of the page daemon; None without them.
        fragmentation: share of the 2 MB blocks that cannot be reserved, since somebody else has one of their frames, 0 to 1.
        host_offset: pages behind a multiple of 2 MB at which the hypervisor process maps a guest's page 0.
        align: whether every trace begins at time 0, or all traces count on one clock.
        swap_read_ns, swap_write_ns: time of reading a page from swap, and of writing one page or a cluster of
            neighbours to it, ns.
        vcpus: when vCPUs count as running, for guests whose traces do not say.
        idle_gap_ns: gap between its accesses across which a vCPU counts as halted, unless guest.toml says another.
        check: check after every scan that no page is lost, shared, or in two places.
    """

    memory: int | None = None
    placement: Placement = Placement.RESERVATION
    scan_interval: Every | None = None
    fragmentation: float = 0.0
    host_offset: int = 0
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
            "host_offset_pages": self.host_offset,
            "align": str(self.align),
            "swap_read_ns": self.swap_read_ns,
            "swap_write_ns": self.swap_write_ns,
            "vcpus": str(self.vcpus),
            "idle_gap_ns": self.idle_gap_ns,
        }
