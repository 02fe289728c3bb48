"""What a host does to a guest's memory, by rule: wiring, holding, mapping, protecting, touching, DMA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_host import READ, WRITE, SmallHost

from eptreplay.model.pmap import pmap_range
from eptreplay.model.vm import answers as event
from eptreplay.model.vm import hypervisor, vm_map, vm_wire
from eptreplay.model.vm.vm_limits import limits
from eptreplay.request.choices import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from eptreplay.model._numba.types import Int

R, W, X = 1, 2, 4
PAGES = 64
PROFILES = ("ept-ad", "ept-emul", "x86")


def full_host(frames: int = 70, profile: str = "ept-ad") -> tuple[SmallHost, int]:
    """Return a host on which one page more would wake the page daemon, and how many pages are in."""
    host = SmallHost(profile, frames=frames, guests=(PAGES,))
    room = frames - limits(frames).vm_pageout_wakeup_thresh
    host.access(WRITE, range(room))
    assert host.vm("v_pdwakeups") == 0
    return host, room


def test_a_held_page_is_not_paged_out_and_goes_once_it_is_released() -> None:
    host, room = full_host()
    states = host.replay.states
    assert hypervisor.hold(states, 0, 0, R) == event.OK
    for _ in range(12):
        host.scan()
    host.access(WRITE, range(room, PAGES))
    assert host.pages()[0]["resident"]
    assert host.pages()[0]["held"]
    assert not host.pages()[1]["resident"]
    assert host.broken_law() == ""
    assert hypervisor.release(states, 0, 0) == event.OK
    for _ in range(3):
        host.access(WRITE, range(1, PAGES))
    assert not host.pages()[0]["resident"]


def test_a_release_without_a_hold_does_nothing_and_says_so() -> None:
    host, _ = full_host()
    assert hypervisor.release(host.replay.states, 0, 3) == event.NO_HOLD
    assert hypervisor.hold(host.replay.states, 0, 3, R) == event.OK
    assert hypervisor.release(host.replay.states, 0, 3) == event.OK
    assert hypervisor.release(host.replay.states, 0, 3) == event.NO_HOLD
    assert (host.count("holds"), host.count("releases"), host.count("held")) == (1, 1, 0)


def test_a_hold_for_writing_dirties_the_page_and_brings_it_in() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,))
    assert hypervisor.hold(host.replay.states, 0, 9, W) == event.OK
    known = host.pages()[9]
    assert (known["resident"], known["dirty"], known["mapped"]) == (1, 1, 1)


def test_a_wired_page_is_on_no_queue_and_never_leaves() -> None:
    host, room = full_host()
    assert vm_wire.vm_map_wire(host.replay.states, 0, 0, 1) == event.OK
    assert (host.vm("v_wire_count"), host.vm("v_active_count")) == (1, room - 1)
    for _ in range(12):
        host.scan()
    host.access(WRITE, range(room, PAGES))
    known = host.pages()[0]
    assert (known["resident"], known["wired"], known["queue"]) == (1, 1, 0)
    assert host.broken_law() == ""
    assert vm_wire.vm_map_unwire(host.replay.states, 0, 0, 1) == event.OK
    assert vm_wire.vm_map_unwire(host.replay.states, 0, 0, 1) == event.NOT_WIRED
    assert host.pages()[0]["queue"] == 2
    assert host.broken_law() == ""


@pytest.mark.parametrize("profile", ["ept-ad", "ept-emul", "x86"])
def test_a_passthrough_guest_is_wired_whole_and_keeps_its_superpages(profile: str) -> None:
    host = SmallHost(profile, guests=(512, 64))
    host.access(WRITE, range(512))
    assert host.count("promotions") == 1
    assert hypervisor.attach_device(host.replay.states, 0) == event.OK
    known = host.pages()
    assert known["wired"].all()
    assert known["superpage"].all()
    assert host.count("v_wired") == 512
    host.access(READ, range(512))
    host.scan()
    assert host.pages()["resident"].all()
    # The other guest has no device and no domain.
    assert hypervisor.dma(host.replay.states, 1, host.bases[1], False) == event.NO_DEVICE
    assert host.count("v_wired", guest=1) == 0


def test_what_a_device_writes_no_dirty_bit_tells() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,))
    host.access(READ, range(8))
    assert hypervisor.attach_device(host.replay.states, 0) == event.OK
    before = host.pages()["dirty"].sum()
    for page in (3, 3, 4):
        assert hypervisor.dma(host.replay.states, 0, page, True) == event.OK
    assert hypervisor.dma(host.replay.states, 0, 5, False) == event.OK
    assert host.pages()["dirty"].sum() == before
    assert [host.count(name) for name in ("dma_reads", "dma_writes", "dma_pages")] == [1, 3, 2]


def test_the_hypervisors_own_mapping_counts_for_the_page() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,))
    host.access(READ, [3])
    assert not host.pages()[3]["dirty"]
    assert hypervisor.host_access(host.replay.states, 0, 3, True) == event.OK
    assert (host.count("host_accesses"), host.count("host_faults")) == (1, 1)
    assert host.pages()[3]["dirty"]
    assert hypervisor.host_access(host.replay.states, 0, 3, True) == event.OK
    assert (host.count("host_accesses"), host.count("host_faults")) == (2, 1)
    traps, ipis = host.count("traps"), host.count("ipis")
    host.scan()
    assert host.count("host_ipis") == 1  # its accessed bit was cleared, and it is one process
    assert host.count("ipis") == ipis + 1  # and the guest's
    assert host.count("traps") == traps
    assert host.broken_law() == ""


def test_memory_that_is_unmapped_is_gone_and_comes_back_empty() -> None:
    host = SmallHost("ept-ad", frames=200, guests=(PAGES,))
    host.access(WRITE, range(8))
    free = host.vm("v_free_count")
    assert vm_map.vm_map_delete(host.replay.states, 0, 2, 1) == event.OK
    assert host.vm("v_free_count") == free + 1
    host.access(READ, [2])
    assert int(host.replay.statistics.tally[0]["unbacked"]) == 1
    assert vm_map.vm_map_delete(host.replay.states, 0, 2, 1) == event.NOT_MEMORY
    assert vm_map.vm_map_insert(host.replay.states, 0, 2) == event.OK
    assert vm_map.vm_map_insert(host.replay.states, 0, 2) == event.IS_THERE
    fills = host.count("zero_fills")
    host.access(READ, [2])
    assert host.count("zero_fills") == fills + 1
    assert host.broken_law() == ""


def test_a_held_page_leaves_its_guest_at_once_and_is_free_when_it_is_released() -> None:
    host = SmallHost("ept-ad", frames=200, guests=(PAGES,), identity=False)
    states = host.replay.states
    free = host.vm("v_free_count")
    for _ in range(2):
        assert hypervisor.hold(states, 0, 2, R) == event.OK
    assert vm_map.vm_map_delete(states, 0, 2, 1) == event.OK
    assert host.count("v_resident") == 0
    assert host.vm("v_free_count") == free - 1
    assert host.broken_law() == ""
    assert vm_map.vm_map_insert(states, 0, 2) == event.OK
    host.access(WRITE, [2])  # another frame
    for left in (1, 0):
        assert host.vm("v_free_count") == free - 2
        assert hypervisor.release(states, 0, 2) == event.OK
        assert host.count("held") == left
        assert host.broken_law() == ""
    assert host.vm("v_free_count") == free - 1
    assert hypervisor.release(states, 0, 2) == event.NO_HOLD


def test_a_wired_page_that_is_unmapped_is_unwired_and_free() -> None:
    host = SmallHost("ept-ad", frames=200, guests=(PAGES,), identity=False)
    states = host.replay.states
    free = host.vm("v_free_count")
    assert vm_wire.vm_map_wire(states, 0, 2, 3) == event.OK
    assert vm_map.vm_map_delete(states, 0, 1, 3) == event.OK
    assert (host.count("v_wired"), host.vm("v_free_count")) == (1, free - 1)
    assert host.broken_law() == ""
    assert vm_map.vm_map_insert(states, 0, 2) == event.OK
    assert vm_wire.vm_map_unwire(states, 0, 2, 1) == event.NOT_WIRED


def test_a_right_that_is_taken_denies_every_access_until_it_is_given_back() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,))
    host.access(WRITE, [1])
    assert vm_map.vm_map_protect(host.replay.states, 0, 1, 1, R | X) == event.OK
    host.access(READ, [1])
    assert host.count("denied") == 0
    host.access(WRITE, [1, 1, 1])
    assert host.count("denied") == 3
    assert vm_map.vm_map_protect(host.replay.states, 0, 1, 1, R | W | X) == event.OK
    host.access(WRITE, [1, 1])
    assert host.count("denied") == 3


def test_free_memory_is_clean_and_next_in_line() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,), frames=200)
    host.access(WRITE, range(4))
    assert vm_map.vm_map_madvise(host.replay.states, 0, 1, 1, pmap_range.MADV_FREE) == event.OK
    assert vm_map.vm_map_madvise(host.replay.states, 0, 2, 1, pmap_range.MADV_DONTNEED) == event.OK
    known = host.pages()
    assert known["queue"][:4].tolist() == [2, 1, 1, 2]
    assert known["dirty"][:4].tolist() == [1, 0, 1, 1]


ON_A_PAGE: dict[str, Callable[[Any, int, int, int], Int]] = {
    "wire": lambda states, guest, flat, _: vm_wire.vm_map_wire(states, guest, flat, 1),
    "unwire": lambda states, guest, flat, _: vm_wire.vm_map_unwire(states, guest, flat, 1),
    "hold": lambda states, guest, flat, number: hypervisor.hold(states, guest, flat, (W, R)[number % 2]),
    "release": lambda states, guest, flat, _: hypervisor.release(states, guest, flat),
    "host": lambda states, guest, flat, number: hypervisor.host_access(states, guest, flat, number % 2 == 0),
    "unmap": lambda states, guest, flat, _: vm_map.vm_map_delete(states, guest, flat, 1),
    "map": lambda states, guest, flat, _: vm_map.vm_map_insert(states, guest, flat),
    "protect": lambda states, guest, flat, number: vm_map.vm_map_protect(states, guest, flat, 1, number),
    "advise": lambda states, guest, flat, number: vm_map.vm_map_madvise(
        states, guest, flat, 1, (pmap_range.MADV_DONTNEED, pmap_range.MADV_FREE)[number % 2]
    ),
}
"""What a host can do to a page: takes the states, the guest, the flat page and a number that varies it."""

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["read", "write", "scan", *ON_A_PAGE]),
        st.integers(0, 1),
        st.integers(0, 39),
        st.integers(0, 7),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(events=EVENTS)
def test_no_page_is_lost_or_shared_whatever_the_host_does(events: list[tuple[str, int, int, int]]) -> None:
    host = SmallHost(*PROFILES, frames=90, guests=(40, 40))
    for name, guest, page, number in events:
        if name == "scan":
            host.scan()
        elif name in ON_A_PAGE:
            ON_A_PAGE[name](host.replay.states, guest, host.bases[guest] + page, number)
        else:
            host.access(WRITE if name == "write" else READ, range(page, min(page + number + 1, 40)), guest)
        if host.out_of_memory():
            return
        assert host.broken_law() == ""


BLOCKS = 2
BLOCK = 512
BAR = (5000, 5008)

SUPERPAGE_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["fill", "fill", "fill", "touch", "bar", "scan", "age", *ON_A_PAGE]),
        st.integers(0, 1),  # guest
        st.integers(0, BLOCKS - 1),
        st.integers(0, 7),  # page of the block, and how
    ),
    min_size=8,
    max_size=24,
)


@settings(max_examples=150)
@given(events=SUPERPAGE_EVENTS, room=st.integers(0, 3 * BLOCK), in_use=st.integers(0, 1))
def test_no_page_is_lost_or_shared_while_superpages_come_and_go_under_pressure(
    events: list[tuple[str, int, int, int]], room: int, in_use: int
) -> None:
    """Two guests of two blocks each, on a host with room for one to four of them, by reservations."""
    host = SmallHost(
        *PROFILES, frames=BLOCK + 200 + room, guests=(BLOCKS * BLOCK,) * 2, bars=(BAR,),
        identity=False, in_use=in_use, page_tables_count=True,
    )  # fmt: skip
    for name, guest, block, number in events:
        first = block * BLOCK
        op = WRITE if number % 2 else READ
        if name in ON_A_PAGE:
            ON_A_PAGE[name](host.replay.states, guest, host.bases[guest] + first + number, number)
        elif name == "fill":
            host.access(op, range(first, first + BLOCK), guest)
        elif name == "touch":
            host.access(op, range(first + number, first + BLOCK, 97), guest)
        elif name == "bar":
            host.access_outside(op, [BAR[0] + number], guest)
        elif name == "scan":
            host.scan()
        else:
            host.replay.sweep(Policy.AGE)
        if host.out_of_memory():
            return
        assert host.broken_law() == ""
