"""The limits that follow from the size of a host: when the page daemon wakes, and how far it goes.

Source: vm_pageout.c vm_pageout_init and the tunables before it, subr_param and swap_pager.c nsw_cluster_max,
FreeBSD 10.0; all divisions are of integers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from eptreplay.model.state import pte
from eptreplay.model.state.host import CLUSTER_MOST

SMALL_HOST = 2000  # frames below which less is written to swap at once
SMALL_CLUSTER = 8  # and how much, pages
FREE_MIN = 4  # the least part of v_free_min beside the reserve, pages
FREE_MIN_FROM = 1024  # frames above which it grows
FREE_MIN_SHARE = 200  # by one page for every so many frames
INTERRUPT_FREE_MIN = 2  # frames kept for interrupt handlers
SHARE_OF_RESERVE = 768  # frames for which one more page is kept in reserve
MAXPHYS_PAGES = 32  # frames of the largest transfer, kept for the page daemon's own I/O

LARGEST_HOST = (1 << 31) - pte.NPTEPG * 2
"""Most frames that the model can number: frames and flat pages are 32-bit numbers."""


class Limits(NamedTuple):
    """Limits of a host, in frames; see VM in state/host.py."""

    v_page_count: int
    v_free_reserved: int
    v_free_severe: int
    v_free_min: int
    v_free_target: int
    v_inactive_target: int
    vm_pageout_wakeup_thresh: int
    vm_pageout_page_count: int


def limits(frames: int) -> Limits:
    """Return the limits of a host with so many frames, when nothing is allocated yet."""
    cluster = SMALL_CLUSTER if frames < SMALL_HOST else CLUSTER_MOST
    base = FREE_MIN + max(0, frames - FREE_MIN_FROM) // FREE_MIN_SHARE
    reserved = cluster + INTERRUPT_FREE_MIN + MAXPHYS_PAGES + frames // SHARE_OF_RESERVE
    free_min = base + reserved
    target = 4 * base + reserved
    return Limits(
        v_page_count=frames,
        v_free_reserved=reserved,
        v_free_severe=base // 2 + reserved,
        v_free_min=free_min,
        v_free_target=target,
        v_inactive_target=min(3 * target // 2, frames // 3),
        vm_pageout_wakeup_thresh=free_min // 10 * 11,
        vm_pageout_page_count=cluster,
    )


class HostMemory(NamedTuple):
    """The physical memory of a host.

    Args:
        frames: 4 KB frames for guests; None: one for every guest page.
        identity: whether every guest page has a frame of its own for good; else reservations choose.
        in_use: whole 2 MB blocks of each of which somebody else has one frame for good, so that none can be reserved.
        update_period: idle scans in which every active page is visited once.
        page_tables_count: whether the kernel's own pages (page-table pages, pv chunks) take frames.
        page_daemon: whether there is one, which looks at pages even without pressure.
        host_offset: pages behind a multiple of 2 MB at which the hypervisor process maps a guest's page 0.
    """

    frames: int | None = None
    identity: bool = True
    in_use: int = 0
    update_period: int = 1
    page_tables_count: bool = False
    page_daemon: bool = True
    host_offset: int = 0

    def set_up(self, vm: Any, most_frames: int) -> None:  # noqa: ANN401 - a numpy record has no static type
        """Write the limits and choices to an instance's VM record; `most_frames` is what all guests can use."""
        frames = most_frames if self.frames is None else self.frames
        if self.frames is not None:
            for name, value in limits(frames)._asdict().items():
                vm[name] = value
        vm["v_page_count"] = vm["v_free_count"] = frames
        vm["identity"] = self.identity
        vm["page_daemon"] = self.page_daemon
        vm["vm_pageout_update_period"] = self.update_period
        vm["page_tables_count"] = self.page_tables_count
        vm["host_offset"] = self.host_offset
