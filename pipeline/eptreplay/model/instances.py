"""Instances: the state that a replay begins with, empty guests on an empty host, once per CPU profile.

The pages of all guests of a host are numbered in one flat space: guest 0 begins at 0, and each of the others at a multiple of
512 pages, with at least one page that belongs to no guest before it.  So one number, the flat number, names a page of any
guest, 2 MB blocks stay aligned, and the access loop needs no second index.  vCPUs have flat numbers likewise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point
from eptreplay.model._numba.types import Int
from eptreplay.model.page.vm_pagequeue import vm_pagequeues_init
from eptreplay.model.page.vm_reserv import vm_reserv_init
from eptreplay.model.pmap.pmap import pmap_pinit_type
from eptreplay.model.state.address_space import _NPCPV
from eptreplay.model.state.fast_path import NO_MEMORY, UNSAMPLED
from eptreplay.model.state.pte import NPTEPG
from eptreplay.model.state.releases import FREEBSD_10_0
from eptreplay.model.state.state import BLOCKS_BESIDE, Room, State, instance, instances_in, new_states
from eptreplay.model.vm.vm_limits import HostMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLES_OF_OFFSET = 8
"""Page-table pages that a guest's memory takes at most beyond its own, mapped at another address (HostMemory.host_offset)."""

NO_BARS = np.zeros((0, 2), np.int64)


class GuestMemory(NamedTuple):
    """A guest as its host sees it.

    Args:
        ram_pages: shape [ranges, 2]: guest pages [begin, end) that are memory, ascending.
        vcpus: virtual CPUs; all of them count as running until an event says otherwise.
        bars: shape [BARs, 2]: guest pages [begin, end) of the BARs of its devices, outside memory and apart.
    """

    ram_pages: NDArray[np.int64]
    vcpus: int
    bars: NDArray[np.int64] = NO_BARS

    @property
    def pages(self) -> int:
        """Guest pages from address 0 to the end of memory."""
        return int(self.ram_pages[-1, 1])

    @property
    def bar_pages(self) -> int:
        """Pages of all its BARs."""
        return int((self.bars[:, 1] - self.bars[:, 0]).sum())


class Kernel(NamedTuple):
    """What a host's kernel decides for all its address spaces.

    Args:
        release: FREEBSD_* of releases.py.
        allow_2m_x_ept: the sysctl of that name; 1 forbids executable 2 MB mappings in EPT.
        fault_2m: whether vm_fault maps 2 MB at once where it can.
    """

    release: int = FREEBSD_10_0
    allow_2m_x_ept: int = 0
    fault_2m: bool = False


def guest_bases(guests: Sequence[GuestMemory]) -> list[int]:
    """Return the flat number of every guest's page 0."""
    bases = [0]
    for guest in guests[:-1]:
        bases.append(bases[-1] + (guest.pages // NPTEPG + 1) * NPTEPG)
    return bases


def first_frames(guests: Sequence[GuestMemory]) -> list[int]:
    """Return for every guest the frame of its page 0 with identity placement, and at the end the frames needed for all."""
    frames = [0]
    for guest in guests:
        frames.append(-(-(frames[-1] + guest.pages) // NPTEPG) * NPTEPG)
    return frames


def flat_page(guests: Sequence[GuestMemory], guest: int, page: int) -> int:
    """Return the flat number of a guest page, of memory or of a BAR; -1 if it is neither."""
    known = guests[guest]
    if page < known.pages and not any(begin <= page < end for begin, end in known.bars):
        return guest_bases(guests)[guest] + page
    flat = _first_bar_page(guests, guest)
    for begin, end in known.bars:
        if begin <= page < end:
            return flat + page - int(begin)
        flat += int(end - begin)
    return -1


def _first_bar_page(guests: Sequence[GuestMemory], guest: int) -> int:
    """Return the flat number of the first page of a guest's first BAR: numbers of BARs come after all memory."""
    return guest_bases(guests)[-1] + guests[-1].pages + sum(before.bar_pages for before in guests[:guest])


def flat_ram_pages(guests: Sequence[GuestMemory]) -> NDArray[np.int64]:
    """Return the flat guest pages that are memory of some guest, shape [ranges, 2]."""
    return np.concatenate(
        [guest.ram_pages + base for guest, base in zip(guests, guest_bases(guests), strict=True)]
    )


def new_instances(
    pmap_types: NDArray[np.int64],
    pmap_flags: NDArray[np.int64],
    guests: Sequence[GuestMemory],
    hosts: Sequence[HostMemory],
    pbase: int,
    log_words: int = 0,
    kernels: Sequence[Kernel] = (),
) -> State:
    """Return one state per profile, each with the same empty guests, stacked and ready to replay.

    Args:
        pmap_types: shape [profiles]: PT_X86, PT_EPT or PT_RVI.
        pmap_flags: shape [profiles]: PMAP_* flags.
        guests: the guests.
        hosts: for every profile the memory of its host.
        pbase: physical address of frame 0, bytes, a multiple of 2 MB.
        log_words: room for State.log.
        kernels: for every profile the kernel of its host; empty: 10.0.
    """
    bases = guest_bases(guests)
    frames = first_frames(guests)
    ram_pages = flat_ram_pages(guests)
    bar_pages = sum(guest.bar_pages for guest in guests)
    most_frames = max(frames[-1] if host.identity or host.frames is None else host.frames for host in hosts)
    bar_frame = -(-most_frames // NPTEPG) * NPTEPG  # after all frames of the host
    states = new_states(
        len(pmap_types),
        Room(
            pmaps=2 * len(guests),  # every guest's, then every hypervisor process's
            pages=bar_frame + bar_pages,
            mappings=2 * int((ram_pages[:, 1] - ram_pages[:, 0]).sum()),
            tables=sum(2 * page_table_pages(guest) + TABLES_OF_OFFSET for guest in guests),
            guests=len(guests),
            vcpus=sum(guest.vcpus for guest in guests),
            flat_pages=bases[-1] + guests[-1].pages + bar_pages,
            log_words=log_words,
            objects=len(ram_pages),
        ),
        _new_fast_path(ram_pages),
        pbase,
    )
    _set_guests(states, guests, bar_frame)
    _set_kernels(states, kernels)
    for number, host in enumerate(hosts):
        host.set_up(states.vm[number, 0], frames[-1])
    states.objects.begin[:], states.objects.end[:] = ram_pages.T
    states.objects.first_block[:] = _first_blocks(ram_pages)
    in_use = np.array([host.in_use for host in hosts], np.int64)
    init_instances(states, pmap_types, pmap_flags, in_use)
    return states


def _set_guests(states: State, guests: Sequence[GuestMemory], bar_frame: int) -> None:
    """Write where each guest is in flat numbers, the same in every instance."""
    places = zip(guest_bases(guests), first_frames(guests), strict=False)
    for number, (guest, (base, frame)) in enumerate(zip(guests, places, strict=False)):
        states.pmap.pm_fast_path[:, number] = base
        states.pmap.pm_fast_path_pages[:, number] = guest.pages
        states.pmap.pm_active[:, number] = guest.vcpus
        states.pmap.pm_vcpus[:, number] = guest.vcpus
        states.guests.begin[:, number] = base
        states.guests.end[:, number] = base + guest.pages
        states.guests.first_frame[:, number] = frame
        states.guests.first_vcpu[:, number] = sum(before.vcpus for before in guests[:number])
        states.guests.vcpus[:, number] = guest.vcpus
        _place_bars(states, guests, number, bar_frame)


def _set_kernels(states: State, kernels: Sequence[Kernel]) -> None:
    """Write what the kernel of every instance decides, before there is any pmap."""
    for number, kernel in enumerate(kernels):
        states.host.release[number] = kernel.release
        states.host.allow_2m_x_ept[number] = kernel.allow_2m_x_ept
        states.host.fault_2m[number] = kernel.fault_2m


def _place_bars(states: State, guests: Sequence[GuestMemory], number: int, bar_frame: int) -> None:
    """Write where the BARs of a guest are, in every instance; the frames of all guests' BARs begin at `bar_frame`."""
    bars = guests[number].bars
    lengths = bars[:, 1] - bars[:, 0]
    before = np.cumsum(lengths) - lengths
    states.guests.bars[:, number] = len(bars)
    states.guests.bar_page[:, number, : len(bars)] = bars[:, 0]
    states.guests.bar_pages[:, number, : len(bars)] = lengths
    states.guests.bar_flat[:, number, : len(bars)] = _first_bar_page(guests, number) + before
    first = bar_frame + sum(guest.bar_pages for guest in guests[:number])
    states.guests.bar_frame[:, number, : len(bars)] = first + before


def _new_fast_path(ram_pages: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return State.fast_path for memory that nobody has touched."""
    fast_path = np.full(int(ram_pages[-1, 1]) + 1, UNSAMPLED | NO_MEMORY)
    for begin, end in ram_pages:
        fast_path[begin:end] = UNSAMPLED
    return fast_path


def page_table_pages(guest: GuestMemory) -> int:
    """Return the most page-table pages that a guest can need."""
    blocks = sum(int(-(-end // NPTEPG) - begin // NPTEPG) for begin, end in guest.ram_pages)
    of_bars = sum(int(2 * ((end - begin) // NPTEPG + 2) + 4) for begin, end in guest.bars)
    return 1 + blocks + 2 * (2 + guest.pages // NPTEPG**2) + of_bars


def pv_chunks(guest: GuestMemory) -> int:
    """Return the most pv chunks that a guest's own pmap can need."""
    pages = int((guest.ram_pages[:, 1] - guest.ram_pages[:, 0]).sum())
    return -(-pages // _NPCPV)


def _first_blocks(ram_pages: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the first block of every object (State.blocks), which may begin before the object does."""
    blocks = (ram_pages[:, 1] - ram_pages[:, 0]) // NPTEPG + BLOCKS_BESIDE
    return np.cumsum(blocks) - blocks


@entry_point
def init_instances(
    states: State,
    pmap_types: NDArray[np.int64],
    pmap_flags: NDArray[np.int64],
    in_use: NDArray[np.int64],
) -> None:
    """Make the pmaps, queues and free frames of every instance; the address of every pmap hashes to 0."""
    for number in range(len(pmap_types)):
        st = instance(states, number)
        vm_pagequeues_init(st)
        if st.vm[0].identity == 0:
            vm_reserv_init(st, in_use[number])
        for pm in range(len(st.guests)):
            pmap_pinit_type(st, pm, pmap_types[number], pmap_flags[number], 0)


@entry_point
def out_of_memory(states: State) -> Int:
    """Return 1 + the first instance whose page daemon could free nothing, 0 if there is none."""
    for number in range(instances_in(states)):
        if instance(states, number).vm[0].out_of_memory != 0:
            return number + 1
    return 0
