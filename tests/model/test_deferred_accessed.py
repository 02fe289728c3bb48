"""Deferred accessed bits: whoever looks at entries finds them there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from eptreplay.ingest.trace.schema import Event
from eptreplay.model.access_loop.deferred_accessed import DEFERRED
from eptreplay.model.instances import GuestMemory
from eptreplay.model.state.rows import rows_of
from eptreplay.profiles import resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.rows.event import HostEvent
from eptreplay.request.choices import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGES = 1024
BLOCK = 512
READ, WRITE, FETCH = 0, 1, 2


def touch(replay: Replay, op: int, pages: Iterable[int]) -> None:
    gpa = np.array([4096 * page for page in pages], np.uint64)
    rows = rows_of(gpa, np.full(len(gpa), op, np.uint8))
    replay.replay_rows(rows, 0, len(gpa), replay.rows)


def used_again(*profiles: str, slow_path: bool = False) -> Replay:
    """Return a replay that wrote all pages of a block but the last, swept, and wrote them again."""
    replay = Replay(
        [resolve(name) for name in profiles or ("ept-ad",)],
        [GuestMemory(np.array([[0, PAGES]], np.int64), 1)],
        slow_path=slow_path,
    )
    for _ in range(2):
        touch(replay, WRITE, range(BLOCK - 1))
        replay.sweep(Policy.AGE)
    touch(replay, WRITE, range(BLOCK - 1))
    return replay


def counters(replay: Replay) -> bytes:
    return bytes(replay.states.cnt.tobytes())


def test_pages_that_are_used_again_are_marked() -> None:
    replay = used_again()
    assert (replay.statistics.deferred[: BLOCK - 1] & DEFERRED != 0).all()
    assert replay.states.cnt.accessed_bits[0, 0] == 2 * (BLOCK - 1)
    assert replay.states.cnt.ts_referenced[0, 0] == 2 * (BLOCK - 1)


def test_deferred_bits_are_in_no_entry_until_they_are_written() -> None:
    replay, slow = used_again(), used_again(slow_path=True)
    accessed = replay.states.pmap[0, 0].PG_A
    assert np.count_nonzero(replay.states.pt & accessed) < np.count_nonzero(slow.states.pt & accessed)
    assert replay.state_sums() == slow.state_sums()
    assert not (replay.statistics.deferred & DEFERRED).any()


def test_a_promotion_finds_the_accessed_bits_of_its_block() -> None:
    for slow_path in (False, True):
        replay = used_again(slow_path=slow_path)
        touch(replay, WRITE, [BLOCK - 1])
        assert replay.states.cnt.promotions[0, 0] == 1


def test_a_page_that_was_not_used_again_keeps_its_block_from_promotion() -> None:
    for slow_path in (False, True):
        replay = used_again(slow_path=slow_path)
        replay.sweep(Policy.AGE)
        touch(replay, WRITE, range(BLOCK - 2))
        touch(replay, WRITE, [BLOCK - 1])
        assert replay.states.cnt.promotions[0, 0] == 0
        assert replay.states.cnt.p_failures[0, 0] == 1


@pytest.mark.parametrize("event", [Event.HOST_READ, Event.PROTECT, Event.UNMAP, Event.ADVISE, Event.WIRE])
def test_an_event_finds_entries_as_they_would_be_without_deferred_bits(event: Event) -> None:
    found = []
    for slow_path in (False, True):
        replay = used_again(slow_path=slow_path)
        for page in (3, 4):
            replay.carry_out(HostEvent(0, False, 0, event, 0, 4096 * page, 1))
        touch(replay, READ, range(8))
        replay.sweep(Policy.AGE)
        found.append((counters(replay), replay.state_sums()))
    assert found[0] == found[1]


def test_another_kind_of_access_than_before_the_sweep_goes_through_the_entries() -> None:
    found = []
    for slow_path in (False, True):
        replay = Replay(
            [resolve("ept-ad")], [GuestMemory(np.array([[0, PAGES]], np.int64), 1)], slow_path=slow_path
        )
        touch(replay, READ, range(9))
        replay.sweep(Policy.AGE)
        touch(replay, READ, range(6))
        touch(replay, WRITE, range(3, 9))
        replay.sweep(Policy.HARVEST)
        found.append((counters(replay), replay.state_sums()))
        assert replay.states.cnt.dirty_bits_4k[0, 0] == 6
    assert found[0] == found[1]


def test_a_page_keeps_the_kinds_that_are_known_when_another_comes() -> None:
    replay = Replay([resolve("ept-ad")], [GuestMemory(np.array([[0, PAGES]], np.int64), 1)])
    touch(replay, READ, range(9))
    replay.sweep(Policy.AGE)
    touch(replay, FETCH, range(9))
    replay.sweep(Policy.AGE)
    touch(replay, READ, range(9))
    touch(replay, FETCH, range(9))
    assert (replay.statistics.deferred[:9] & DEFERRED != 0).all()
    assert replay.states.cnt.accessed_bits[0, 0] == 2 * 9


def test_one_profile_that_emulates_accessed_bits_keeps_all_from_deferring_them() -> None:
    replay = used_again("ept-ad", "ept-emul")
    assert not (replay.statistics.deferred & DEFERRED).any()
