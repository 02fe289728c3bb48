"""A guest's address space by rule: BARs of devices are mapped, counted and taken away, and are never memory."""

from __future__ import annotations

import pytest
from tests.small_host import FETCH, READ, WRITE, SmallHost

from eptreplay.ingest.sources import devices
from eptreplay.model.instances import flat_page
from eptreplay.model.pmap import pmap_range
from eptreplay.model.state import guests as guest_state
from eptreplay.model.state import pte
from eptreplay.model.vm import answers as event
from eptreplay.model.vm import hypervisor, vm_map, vm_wire

R, W, X = 1, 2, 4
PAGES = 64
BARS = ((0x1000, 0x1002), (1 << 34, (1 << 34) + 600))  # guest pages: one of 2 pages, one of 600 above 64 TB
FIRST, SECOND = (begin for begin, _ in BARS)
PROFILES = ("ept-ad", "ept-emul", "ept-emul-xo", "x86")


def host_with_bars(*profiles: str, frames: int | None = None) -> SmallHost:
    """Return a host of two guests; both have the same BARs, each its own."""
    return SmallHost(*profiles, guests=(PAGES, PAGES), bars=BARS, frames=frames)


def entry(host: SmallHost, page: int, guest: int = 0, profile: int = 0) -> tuple[int, int]:
    """Return level and bits of the leaf that maps a guest page; 0 and 0 if none does."""
    states = host.replay.states
    table = int(states.pmap["pm_pml4"][profile, guest])
    for level in (4, 3, 2, 1):
        bits = int(states.pt[profile, table * 512 + (page >> 9 * (level - 1)) % 512])
        if bits == 0:
            break
        if level == 1 or bits & int(pte.PG_PS):
            return level, bits
        table = ((bits & int(pte.PG_FRAME)) - int(pte.PTP_BASE)) >> 12
    return 0, 0


def accesses(host: SmallHost, bar: int, guest: int = 0, profile: int = 0) -> list[int]:
    """Return reads, writes, fetches and faults of a BAR."""
    known = host.replay.states.guests[profile, guest]
    return [*map(int, known["bar_accesses"][bar]), int(known["bar_faults"][bar])]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_first_access_maps_a_page_of_a_bar_and_no_other_faults(profile: str) -> None:
    host = host_with_bars(profile)
    host.access_outside(READ, [FIRST])
    assert host.count("traps") == 1
    for _ in range(3):
        host.access_outside(WRITE, [FIRST])
        host.access_outside(READ, [FIRST])
        host.scan()
    assert host.count("traps") == 1  # not even where accessed and dirty bits are emulated
    assert accesses(host, 0) == [4, 3, 0, 1]
    assert accesses(host, 1) == [0, 0, 0, 0]
    assert accesses(host, 0, guest=1) == [0, 0, 0, 0]
    tally = host.replay.statistics.tally[0]
    assert int(tally["unbacked"]) == 0
    assert host.replay.states.cnt["faults"].sum() == 0


@pytest.mark.parametrize(
    ("profile", "uncacheable"),
    [("ept-ad", int(pte.EPT_PG_IGNORE_PAT)), ("x86", int(pte.X86_PG_NC_PCD | pte.X86_PG_NC_PWT))],
)
def test_a_page_of_a_bar_is_uncacheable_unmanaged_not_wired_and_as_good_as_written(
    profile: str, uncacheable: int
) -> None:
    host = host_with_bars(profile)
    host.access_outside(READ, [FIRST + 1])
    level, bits = entry(host, FIRST + 1)
    pmap = host.replay.states.pmap[0, 0]
    caching = int(pmap["PG_CACHE_UC"]) | int(pmap["PG_CACHE_WB"])
    assert (level, bits & caching) == (1, uncacheable)
    modified = int(pmap["PG_A"] | pmap["PG_M"] | pmap["PG_RW"])
    assert bits & modified == modified
    assert bits & int(pte.PG_MANAGED | pte.PG_W) == 0
    assert bits & int(pte.PG_NX) != 0


def test_device_memory_takes_no_frame_is_on_no_queue_and_no_candidate() -> None:
    host = host_with_bars("ept-ad", frames=200)
    host.access(WRITE, range(8))
    before = [
        host.vm(name) for name in ("v_free_count", "v_active_count", "v_inactive_count", "v_wire_count")
    ]
    host.access_outside(WRITE, range(SECOND, SECOND + 600))
    for _ in range(12):
        host.scan()
    free, active, inactive, wired = before
    assert host.vm("v_free_count") == free
    assert host.vm("v_active_count") + host.vm("v_inactive_count") == active + inactive
    assert host.vm("v_wire_count") == wired
    assert host.count("v_resident") == 8
    assert host.pages()["resident"].sum() == 8
    assert host.broken_law() == ""


def test_a_whole_block_of_a_bar_never_becomes_a_superpage() -> None:
    host = host_with_bars("ept-ad", "x86")
    host.access_outside(WRITE, range(SECOND, SECOND + 600))
    for profile in range(2):
        assert host.count("promotions", profile=profile) == 0
        assert host.count("p_failures", profile=profile) == 0
        assert entry(host, SECOND + 5, profile=profile)[0] == 1
        assert accesses(host, 1, profile=profile) == [0, 600, 0, 600]


def test_wiring_a_guests_memory_wires_none_of_its_bars() -> None:
    host = host_with_bars("ept-ad")
    host.access_outside(READ, [FIRST])
    assert hypervisor.attach_device(host.replay.states, 0) == event.OK
    assert host.count("v_wired") == PAGES
    assert int(host.replay.states.pmap["wired_count"][0, 0]) == PAGES
    assert int(host.replay.states.pmap["resident_count"][0, 0]) > PAGES
    assert int(host.replay.states.guests["iommu_pages"][0, 0]) == PAGES


@pytest.mark.parametrize(("profile", "denied"), [("ept-ad", 0), ("x86", 1)])
def test_code_in_a_bar_is_fetched_once_it_is_mapped_by_nested_tables_alone(profile: str, denied: int) -> None:
    host = host_with_bars(profile)
    host.access_outside(FETCH, [FIRST])
    assert host.count("denied") == 1  # no entry of a BAR gives the right to execute
    host.access_outside(READ, [FIRST])
    host.access_outside(FETCH, [FIRST])
    assert host.count("denied") == 1 + denied  # but the EPT of this FreeBSD cannot take it away


def test_events_map_unmap_and_protect_pages_of_a_bar() -> None:
    host = host_with_bars("ept-ad", "x86")
    states = host.replay.states
    flat = flat_page(host.guests, 0, FIRST)
    host.access_outside(WRITE, [FIRST, FIRST + 1])
    assert vm_map.vm_map_protect(states, 0, flat, 1, R) == event.OK
    host.access_outside(WRITE, [FIRST])
    assert host.count("denied") == 1
    host.access_outside(READ, [FIRST])
    assert host.count("denied") == 1
    assert vm_map.vm_map_protect(states, 0, flat, 1, R | W) == event.OK
    host.access_outside(WRITE, [FIRST])
    assert accesses(host, 0) == [1, 4, 0, 3]
    assert vm_map.vm_map_protect(states, 0, flat, 1, R | X) == event.NOT_ALLOWED
    assert vm_map.vm_map_madvise(states, 0, flat, 1, pmap_range.MADV_FREE) == event.OK

    assert vm_map.vm_map_insert(states, 0, flat) == event.IS_THERE
    assert vm_map.vm_map_delete(states, 0, flat, 1) == event.OK
    assert entry(host, FIRST)[0] == 0
    assert vm_map.vm_map_delete(states, 0, flat, 1) == event.NOT_MEMORY
    assert vm_map.vm_map_protect(states, 0, flat, 1, R) == event.NOT_MEMORY
    host.access_outside(READ, [FIRST, FIRST + 1])
    assert int(host.replay.statistics.tally[0]["unbacked"]) == 1
    assert vm_map.vm_map_insert(states, 0, flat) == event.OK
    host.access_outside(READ, [FIRST])
    assert accesses(host, 0) == [3, 4, 0, 4]
    assert host.broken_law() == ""


def test_what_concerns_memory_refuses_pages_of_a_bar() -> None:
    host = host_with_bars("ept-ad")
    states = host.replay.states
    flat = flat_page(host.guests, 0, FIRST)
    assert hypervisor.attach_device(states, 0) == event.OK
    assert vm_wire.vm_map_wire(states, 0, flat, 1) == event.NOT_MEMORY
    assert hypervisor.hold(states, 0, flat, R) == event.NOT_MEMORY
    assert hypervisor.host_access(states, 0, flat, False) == event.NOT_MEMORY
    assert hypervisor.dma(states, 0, flat, True) == event.NOT_MEMORY


def test_no_page_has_the_number_of_another() -> None:
    host = host_with_bars("ept-ad")
    numbers = [
        flat_page(host.guests, guest, page)
        for guest in range(2)
        for begin, end in ((0, PAGES), *BARS)
        for page in range(begin, end)
    ]
    assert len(set(numbers)) == len(numbers) == 2 * (PAGES + 602)
    assert max(numbers) < host.replay.states.object.shape[1]
    assert flat_page(host.guests, 1, PAGES) == -1
    assert flat_page(host.guests, 1, FIRST + 2) == -1


def test_guest_toml_allows_as_many_bars_as_a_guest_can_have() -> None:
    assert devices.BARS_MOST == guest_state.BARS_MOST


# Wiring, as the kernel does it (vm_map_lookup, vm_fault_quick_hold_pages, vm_page_unwire).


def test_memory_of_a_passthrough_guest_is_writable_modified_and_dirty_from_the_start() -> None:
    host = SmallHost(*PROFILES, guests=(512,))
    assert hypervisor.attach_device(host.replay.states, 0) == event.OK
    for profile in range(len(PROFILES)):
        pmap = host.replay.states.pmap[profile, 0]
        level, bits = entry(host, 5, profile=profile)
        written = int(pmap["PG_A"] | pmap["PG_M"] | pmap["PG_RW"] | pte.PG_W)
        assert (level, bits & written) == (2, written)
        assert host.count("dirty_calls", profile=profile) == 512
    traps = host.count("traps", profile=1)
    host.access(READ, range(512))
    host.access(WRITE, range(512))
    assert host.count("traps", profile=1) == traps


def test_a_read_fault_on_a_wired_page_dirties_it_and_maps_it_modified() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,))
    states = host.replay.states
    assert vm_wire.vm_map_wire(states, 0, 3, 1) == event.OK
    assert not states.page["dirty"][0, 3]
    assert vm_map.vm_map_protect(states, 0, 3, 1, 0) == event.OK  # its mapping goes
    assert vm_map.vm_map_protect(states, 0, 3, 1, R | W | X) == event.OK
    dirty_calls = host.count("dirty_calls")
    host.access(READ, [3])
    assert host.count("dirty_calls") == dirty_calls + 1
    pmap = states.pmap[0, 0]
    assert entry(host, 3)[1] & int(pmap["PG_M"] | pte.PG_W) == int(pmap["PG_M"] | pte.PG_W)


def test_an_unwired_page_is_as_active_as_it_was() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,))
    assert vm_wire.vm_map_wire(host.replay.states, 0, 3, 1) == event.OK  # never used: act_count 0
    assert vm_wire.vm_map_unwire(host.replay.states, 0, 3, 1) == event.OK
    known = host.pages()[3]
    assert (known["queue"], known["act_count"]) == (2, 0)


def test_a_hold_for_writing_marks_a_page_dirty_once() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,))
    host.access(READ, [3])
    for _ in range(3):
        assert hypervisor.hold(host.replay.states, 0, 3, W) == event.OK
        assert hypervisor.release(host.replay.states, 0, 3) == event.OK
    assert host.count("dirty_calls") == 1


def test_a_page_without_the_right_to_be_read_is_not_wired() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,))
    assert vm_map.vm_map_protect(host.replay.states, 0, 3, 1, 0) == event.OK
    assert vm_wire.vm_map_wire(host.replay.states, 0, 3, 1) == event.NOT_ALLOWED


def test_advice_leaves_held_pages_alone_and_spares_some_of_the_others() -> None:
    host = SmallHost("ept-ad", guests=(512,))
    host.access(READ, range(512))
    assert hypervisor.hold(host.replay.states, 0, 511, R) == event.OK
    for page in range(512):
        assert vm_map.vm_map_madvise(host.replay.states, 0, page, 1, pmap_range.MADV_DONTNEED) == event.OK
    known = host.pages()
    assert known["queue"][511] == 2
    # 16 pages of every 512 are left alone, here the last ones.  Of every 128, 16 go to the tail of the queue, the
    # rest to its head.
    assert (known["queue"] == 1).sum() == 512 - 1 - 15
    # What was advised about last is looked at first, what went to the tail last of all.
    assert (known["position"][495], known["position"][383]) == (1, 496)


def test_free_advice_gives_up_the_copy_in_swap() -> None:
    host = SmallHost("ept-ad", guests=(PAGES,), frames=70)
    host.access(WRITE, range(PAGES))
    for _ in range(12):
        host.scan()
    host.access(WRITE, range(0, PAGES, 2))
    gone = next(page for page in range(PAGES) if not host.pages()[page]["resident"])
    copies = host.count("swap_copies")
    assert vm_map.vm_map_madvise(host.replay.states, 0, gone, 1, pmap_range.MADV_FREE) == event.OK
    assert host.count("swap_copies") == copies - 1
    swap_ins, fills = host.count("swap_ins"), host.count("zero_fills")
    host.access(READ, [gone])
    assert (host.count("swap_ins"), host.count("zero_fills")) == (swap_ins, fills + 1)
    assert host.broken_law() == ""
