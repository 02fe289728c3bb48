"""How much memory a host of several guests has, and the least that its guests can run in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.errors import UsageError
from eptreplay.model.instances import page_table_pages, pv_chunks
from eptreplay.model.vm.vm_limits import HostMemory, limits
from eptreplay.request.host import HostOptions, Placement
from eptreplay.units import BLOCK_PAGES, PAGE_BYTES, binary_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.model.instances import GuestMemory

PAGES_PER_VCPU = 2
"""Pages that a vCPU needs at once: an access that crosses a page boundary needs two."""
PATH_TABLES = 4
"""Page-table pages that a guest needs for its first page."""


class Need(NamedTuple):
    """The least memory that guests can run in, in pages."""

    wired: int
    fragmentation: int
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
            f"{self.wired:,} pages of wired guest memory{self._fragmentation} + at least {self.page_tables:,} page-table pages"
            f" + {self.free_target:,} that the page daemon keeps free + {self.at_once:,} for the vCPUs"
            f" = {self.total:,} pages, {binary_size(self.total * PAGE_BYTES)}"
        )

    @property
    def _fragmentation(self) -> str:
        """Return the term of the fragmentation, if there is any."""
        return (
            f" + {self.fragmentation:,} that break blocks up (--fragmentation)" if self.fragmentation else ""
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
        frames = _ample(guests, options.fragmentation)
    else:
        frames = options.memory // PAGE_BYTES
        need = least_need(frames, guests, wired_pages, options.fragmentation)
        if frames < need.total:
            raise UsageError(
                f"--host-memory is {frames:,} pages ({binary_size(options.memory)}), but the guests need {need};"
                " give more, with a unit as in 512M"
            )
    return HostMemory(
        frames=frames,
        identity=identity,
        in_use=_fragmented(frames, options.fragmentation),
        page_tables_count=not identity,
        host_offset=options.host_offset,
    )


def _fragmented(frames: int, fragmentation: float) -> int:
    """Return how many whole blocks of a host have a frame that somebody else uses for good."""
    return round(fragmentation * (frames // BLOCK_PAGES))


def least_need(
    frames: int, guests: Sequence[GuestMemory], wired_pages: int, fragmentation: float = 0.0
) -> Need:
    """Return the least memory that guests can run in on a host of so many frames."""
    return Need(
        wired_pages,
        _fragmented(frames, fragmentation),
        PATH_TABLES * len(guests),
        limits(frames).v_free_target,
        PAGES_PER_VCPU * sum(guest.vcpus for guest in guests),
    )


def _ample(guests: Sequence[GuestMemory], fragmentation: float) -> int:
    """Return as many frames as whole blocks of all guest memory, the kernel's own pages, and what the page daemon keeps free need."""
    blocks = sum(
        int(-(-end // BLOCK_PAGES) - begin // BLOCK_PAGES)
        for guest in guests
        for begin, end in guest.ram_pages
    )
    kernel = 2 * sum(page_table_pages(guest) + pv_chunks(guest) for guest in guests)  # the process's, too
    need = blocks * BLOCK_PAGES + -(-kernel // BLOCK_PAGES) * BLOCK_PAGES
    frames = need
    while frames - limits(frames).v_free_target - _fragmented(frames, fragmentation) < need:
        frames = need + limits(frames).v_free_target + _fragmented(frames, fragmentation)
    return frames
