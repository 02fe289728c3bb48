"""Replays under later releases: faults that map 2 MB, and sweeps that need not visit every page, give what the slow path gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from eptreplay.errors import UsageError
from eptreplay.ingest.trace.schema import Event
from eptreplay.model.instances import GuestMemory
from eptreplay.model.state.releases import ASSERT_WIRED_UNUSED
from eptreplay.model.state.rows import rows_of
from eptreplay.profiles import Release, resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.rows.event import HostEvent
from eptreplay.replay.state.pmap_choice import AnyPmap
from eptreplay.request.choices import Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eptreplay.replay.state.pmap_choice import Pmap

PAGES = 1024 + 300
BLOCK = 512
READ, WRITE, FETCH = 0, 1, 2

EPT, RVI = 1, 2
SUPERPAGES, EMULATED, EXEC_ONLY = 1, 2, 4
HARDWARE = (
    AnyPmap(EPT, SUPERPAGES, release=1, fault_2m=True),
    AnyPmap(EPT, SUPERPAGES, release=2, fault_2m=True),
    AnyPmap(RVI, SUPERPAGES, release=1),
    AnyPmap(EPT, SUPERPAGES, release=1, allow_2m_x_ept=1, fault_2m=True),
    AnyPmap(EPT, SUPERPAGES),
)
EMULATING = (
    AnyPmap(EPT, SUPERPAGES | EMULATED, release=1, fault_2m=True),
    AnyPmap(EPT, SUPERPAGES | EMULATED | EXEC_ONLY, release=2, fault_2m=True),
    AnyPmap(EPT, SUPERPAGES | EMULATED, release=1, allow_2m_x_ept=1, fault_2m=True),
    AnyPmap(EPT, SUPERPAGES | EMULATED),
)


def replay_of(profiles: Sequence[Pmap], *, slow_path: bool = False) -> Replay:
    return Replay(profiles, [GuestMemory(np.array([[0, PAGES]], np.int64), 2)], slow_path=slow_path)


def touch(replay: Replay, op: int, pages: Iterable[int]) -> None:
    gpa = np.array([4096 * page for page in pages], np.uint64)
    rows = rows_of(gpa, np.full(len(gpa), op, np.uint8))
    replay.replay_rows(rows, 0, len(gpa), replay.rows)


def worked(profiles: Sequence[Pmap], seed: int, *, slow_path: bool = False) -> Replay:
    """Return a replay of blocks that are filled, swept, and used in part, again and again."""
    replay = replay_of(profiles, slow_path=slow_path)
    rng = np.random.default_rng(seed)
    touch(replay, WRITE, range(BLOCK))
    touch(replay, READ, range(BLOCK, BLOCK + 500))
    for _ in range(6):
        replay.sweep(Policy.AGE)
        for op in (READ, WRITE, FETCH):
            touch(replay, op, rng.integers(0, PAGES, int(rng.integers(1, 400))))
        touch(replay, int(rng.integers(0, 3)), range(int(rng.integers(0, 40)), BLOCK))
    return replay


def found(replay: Replay) -> list[tuple[bytes, int, int]]:
    sums = replay.state_sums()
    return [
        (
            replay.states.cnt[number].tobytes(),
            int(replay.states.pmap[number, 0].resident_count),
            sums[number],
        )
        for number in range(len(replay.profiles))
    ]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("profiles", [HARDWARE, EMULATING, (*HARDWARE, *EMULATING)])
def test_the_slow_path_gives_the_same(profiles: Sequence[Pmap], seed: int) -> None:
    replay = worked(profiles, seed)
    assert found(replay) == found(worked(profiles, seed, slow_path=True))
    counted = replay.states.cnt[:, 0]
    assert counted["dirty_calls"].max() > counted["dirty_calls"].min()


@pytest.mark.parametrize("profiles", [HARDWARE, EMULATING])
def test_several_releases_in_one_pass_give_what_each_gives_alone(profiles: Sequence[Pmap]) -> None:
    together = found(worked((*HARDWARE, *EMULATING), 7))
    first = 0 if profiles is HARDWARE else len(HARDWARE)
    for number, profile in enumerate(profiles):
        assert found(worked([profile], 7)) == [together[first + number]]


@pytest.mark.parametrize("event", [Event.HOST_READ, Event.PROTECT, Event.UNMAP, Event.ADVISE, Event.WIRE])
def test_an_event_between_sweeps_changes_what_a_sweep_counts_as_without_marks(event: Event) -> None:
    both = []
    for slow_path in (False, True):
        replay = replay_of(HARDWARE, slow_path=slow_path)
        for _ in range(2):
            touch(replay, WRITE, range(BLOCK - 1))
            replay.sweep(Policy.AGE)
        for page in (3, 4):
            replay.carry_out(HostEvent(0, False, 0, event, 0, 4096 * page, 1))
        touch(replay, READ, range(8))
        for _ in range(2):
            replay.sweep(Policy.AGE)
        both.append(found(replay))
    assert both[0] == both[1]


def unmapped(profile: Pmap) -> Replay:
    """Return a replay of a block that was written and is dirty as a whole, and of which a sweep has unmapped every page."""
    replay = replay_of([profile])
    touch(replay, WRITE, range(BLOCK))
    for _ in range(2):
        replay.sweep(Policy.AGE)
    assert replay.states.pmap[0, 0].resident_count == replay.states.pmap[0, 0].pm_root_resident
    return replay


def test_a_fault_on_a_page_in_memory_maps_2_mb_at_once() -> None:
    replay = unmapped(EMULATING[0])
    touch(replay, READ, [5])
    counted = replay.states.cnt[0, 0]
    assert (counted.soft_maps, counted.mappings) == (1, 1)
    assert replay.states.pmap[0, 0].resident_count == 1 + 2 + 512


def test_where_it_is_forbidden_a_read_dirties_the_page() -> None:
    replay = unmapped(EMULATING[2])
    replay.states.page.dirty[0, 5] = 0
    touch(replay, READ, [5])
    counted = replay.states.cnt[0, 0]
    assert (counted.soft_maps, counted.soft_fails, counted.soft_fail_reads) == (0, 1, 1)
    assert replay.states.page.dirty[0, 5] == 1
    touch(replay, WRITE, [6])
    assert (counted.soft_fails, counted.soft_fail_reads) == (2, 1)


def test_one_clean_neighbour_keeps_a_fault_from_mapping_2_mb() -> None:
    replay = unmapped(EMULATING[0])
    replay.states.page.dirty[0, 6] = 0
    touch(replay, READ, [5])
    assert replay.states.cnt[0, 0].soft_maps == 0
    touch(replay, READ, [6])  # the page itself need not be dirty
    assert replay.states.cnt[0, 0].soft_maps == 1


def test_10_0_maps_a_page_alone() -> None:
    replay = unmapped(EMULATING[3])
    touch(replay, READ, [5])
    assert replay.states.cnt[0, 0].soft_maps == 0
    assert replay.states.pmap[0, 0].resident_count == 3 + 1


def test_what_the_kernel_asserts_never_to_occur_is_refused_by_name() -> None:
    replay = replay_of([resolve("ept-ad@14-later")])
    replay.check_asserted()
    replay.states.host["asserted"][0] = ASSERT_WIRED_UNUSED
    with pytest.raises(UsageError, match=r"ept-ad@14-later.*a wired superpage whose accessed bit is clear"):
        replay.check_asserted()


def test_a_profile_tells_the_model_its_release() -> None:
    replay = replay_of([resolve("haswell@14.0"), resolve("zen2@14-later"), resolve("haswell")])
    assert replay.states.host["release"][:, 0].tolist() == [
        Release.FREEBSD_14_0,
        Release.FREEBSD_14_LATER,
        Release.FREEBSD_10_0,
    ]
    assert replay.states.host["allow_2m_x_ept"][:, 0].tolist() == [1, 0, 0]
    assert replay.states.pmap["pm_type"][:, 0].tolist() == [EPT, RVI, EPT]
