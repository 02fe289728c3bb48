"""The host's memory by rule: nothing is lost or shared, reservations, scans, and what they cost under which profile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_host import FETCH, READ, WRITE, SmallHost

from eptreplay.errors import UsageError
from eptreplay.model.instances import GuestMemory
from eptreplay.model.pmap import invalidate
from eptreplay.model.vm.vm_limits import limits
from eptreplay.replay.state.host_memory import host_memory
from eptreplay.request.host import HostOptions, Placement

PROFILES = ("ept-ad", "ept-emul", "ept-emul-xo", "x86")
BLOCK = 512

ACCESSES = st.lists(
    st.one_of(
        st.just("scan"),
        st.tuples(
            st.integers(0, 1),  # guest
            st.sampled_from((READ, WRITE, FETCH)),
            st.integers(0, 79),  # first page
            st.integers(1, 40),  # pages
        ),
    ),
    max_size=40,
)


@pytest.mark.parametrize("identity", [True, False])
@settings(max_examples=40)
@given(accesses=ACCESSES, frames=st.integers(70, 160))
def test_no_page_is_lost_or_shared_whatever_the_guests_do(
    identity: bool, accesses: list[str | tuple[int, int, int, int]], frames: int
) -> None:
    host = SmallHost(
        *PROFILES, frames=frames, guests=(80, 80), identity=identity, page_tables_count=not identity
    )
    for access in accesses:
        if isinstance(access, str):
            host.scan()
        else:
            guest, op, first, pages = access
            host.access(op, range(first, min(first + pages, 80)), guest)
        if host.out_of_memory():
            return
        assert host.broken_law() == ""


@settings(max_examples=15)
@given(
    blocks=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.booleans()), max_size=12),
    in_use=st.integers(0, 3),
)
def test_no_frame_is_lost_while_reservations_are_made_and_broken(
    blocks: list[tuple[int, int, bool]], in_use: int
) -> None:
    host = SmallHost(
        "ept-ad",
        "ept-emul",
        frames=4 * BLOCK + 100,
        guests=(4 * BLOCK, 4 * BLOCK),
        identity=False,
        in_use=in_use,
        page_tables_count=True,
    )
    for guest, block, whole in blocks:
        host.access(WRITE, range(block * BLOCK, block * BLOCK + (BLOCK if whole else 30)), guest)
        assert host.broken_law() == ""
    host.scan()
    assert host.broken_law() == ""


def test_a_whole_block_is_reserved_and_becomes_a_superpage() -> None:
    host = SmallHost("ept-ad", frames=4 * BLOCK, guests=(BLOCK,), identity=False)
    host.access(READ, range(BLOCK))
    assert host.count("reservations") == 1
    assert host.count("promotions") == 1
    assert host.count("promotions_lost") == 0


def test_without_a_whole_free_block_pages_get_single_frames_and_never_promote() -> None:
    host = SmallHost("ept-ad", frames=4 * BLOCK, guests=(BLOCK,), identity=False, in_use=4)
    host.access(READ, range(BLOCK))
    assert host.count("reservations") == 0
    assert host.count("reservations_refused") == BLOCK
    assert host.count("promotions") == 0
    assert host.count("promotions_lost") == 1


def test_the_reservation_used_longest_ago_is_broken_when_frames_run_out() -> None:
    host = SmallHost("ept-ad", frames=2 * BLOCK, guests=(4 * BLOCK,), identity=False)
    host.access(WRITE, range(10))  # reserves the first block of frames
    host.access(WRITE, range(BLOCK, BLOCK + 10))  # and the second
    host.access(WRITE, [2 * BLOCK])  # none is left: the first one is broken
    assert host.count("reservations") == 2
    assert host.count("reservations_refused") == 1
    assert host.count("reservations_broken") == 1
    host.access(WRITE, range(BLOCK + 10, BLOCK + 20))  # the second one still serves
    assert host.count("reservations_refused") == 1
    assert host.broken_law() == ""


def test_a_page_is_freed_clean_or_written_to_swap_and_comes_back() -> None:
    frames = 70
    room = frames - limits(frames).vm_pageout_wakeup_thresh
    host = SmallHost("ept-ad", frames=frames, guests=(64,))
    host.access(READ, range(5))
    host.access(WRITE, range(5, room))
    assert (host.count("swap_ins"), host.vm("v_pdwakeups")) == (0, 0)
    for _ in range(10):
        host.scan()  # all of them decay
    host.access(WRITE, range(room, 64))
    assert host.count("freed_clean") > 0
    assert host.count("laundered") > 0
    assert host.count("cached") > 0
    gone = [page for page in range(room) if not host.pages()[page]["resident"]]
    clean = [page for page in gone if page < 5]
    written = [page for page in gone if page >= 5]
    before = host.count("zero_fills"), host.count("swap_ins")
    host.access(READ, clean[:1])
    assert (host.count("zero_fills"), host.count("swap_ins")) == (before[0] + 1, before[1])
    host.access(READ, written[-1:])
    assert (host.count("zero_fills"), host.count("swap_ins")) == (before[0] + 1, before[1] + 1)


def test_an_emulating_cpu_refaults_after_an_aging_scan_and_a_hardware_one_does_not() -> None:
    host = SmallHost("ept-ad", "ept-emul", "ept-emul-xo", guests=(64,), frames=200)
    host.access(WRITE, range(40))
    before = [host.count("traps", profile=profile) for profile in range(3)]
    for _ in range(3):
        host.scan()
        host.access(READ, range(40))
    gained = [host.count("traps", profile=profile) - before[profile] for profile in range(3)]
    assert gained[0] == 0
    assert gained[1] == gained[2] == 3 * 40  # written pages lose their mapping on both
    assert [host.by_cause("invalidations", invalidate.CAUSE_AGING, profile=p) for p in range(3)] == [
        3 * 40,
        3 * 40,
        3 * 40,
    ]


def test_what_is_not_used_grows_old_and_what_is_used_does_not() -> None:
    host = SmallHost("ept-ad", guests=(64,), frames=200)
    host.access(WRITE, range(10))
    for _ in range(4):
        host.access(READ, range(5))
        host.scan()
    known = host.pages()
    assert known["last_reference"][:5].tolist() == [4] * 5
    # Their first use was before the first scan, which found it.
    assert known["last_reference"][5:10].tolist() == [1] * 5
    assert known["resident"][10:].sum() == 0


def test_memory_too_little_for_the_guests_is_refused_with_the_arithmetic() -> None:
    guest = GuestMemory(np.array([[0, 1024]]), 2)
    with pytest.raises(UsageError, match=r"4 page-table pages .* = 66 pages") as caught:
        host_memory(HostOptions(memory=60 * 4096), [guest])
    assert "--host-memory is 60 pages" in str(caught.value)
    assert host_memory(HostOptions(memory=80 * 4096), [guest]).frames == 80


def test_enough_memory_never_wakes_the_page_daemon() -> None:
    memory = host_memory(
        HostOptions(placement=Placement.RESERVATION), [GuestMemory(np.array([[0, 1024]]), 1)]
    )
    host = SmallHost("ept-ad", guests=(1024,), **(memory._asdict()))
    host.access(WRITE, range(1024))
    assert host.vm("v_pdwakeups") == 0
    assert host.count("promotions") == 2
