"""Dirty tracking by rule: harvests and what they cost later, and page-modification logging."""

from __future__ import annotations

import numpy as np
import pytest

from eptreplay.ingest.native.reader import Batch
from eptreplay.model.access_loop.dirty_log import PML_ENTRIES
from eptreplay.model.instances import GuestMemory
from eptreplay.model.statistics.intervals import UNHARVESTED
from eptreplay.profiles import resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.rows.batch import row_batch
from eptreplay.request.choices import Policy

READ, WRITE = 0, 1
PAGES = 4096
SPARSE = range(0, PAGES, 2)  # never a whole block, so never a superpage


def guest(*profiles: str, vcpus: int = 1) -> Replay:
    """Return a guest of 8 MiB that has done nothing."""
    memory = GuestMemory(np.array([[0, PAGES]], np.int64), vcpus)
    return Replay([resolve(name) for name in profiles], [memory])


def access(replay: Replay, op: int, pages: range | list[int], vcpu: int = 0) -> None:
    """Let a vCPU access pages, one after the other."""
    gpa = np.array(pages, np.uint64) * np.uint64(4096)
    ops = np.full(len(gpa), op, np.uint8)
    gpa.flags.writeable = ops.flags.writeable = False
    batch = Batch(
        row_group=0, first_row=0, rows=len(gpa), gpa=gpa, op=ops, vcpu=None, size=None, count=None, time=None
    )
    replay.replay(row_batch(batch, vcpu, None), 0, len(gpa))


def counter(replay: Replay, name: str) -> list[int]:
    """Return a counter under every profile."""
    return [int(value) for value in replay.states.cnt[name][:, 0]]


def test_a_log_holds_512_entries_and_the_next_one_leaves_the_guest() -> None:
    replay = guest("skylake-sp")
    access(replay, READ, SPARSE)
    access(replay, WRITE, SPARSE[:PML_ENTRIES])
    assert counter(replay, "pml_entries") == [PML_ENTRIES]
    assert counter(replay, "pml_exits") == [0]
    access(replay, WRITE, SPARSE[PML_ENTRIES : PML_ENTRIES + 1])
    assert counter(replay, "pml_entries") == [PML_ENTRIES + 1]
    assert counter(replay, "pml_exits") == [1]


def test_a_full_log_makes_the_guest_exit_for_an_accessed_bit_too() -> None:
    replay = guest("skylake-sp")
    access(replay, READ, SPARSE)
    access(replay, WRITE, SPARSE[:PML_ENTRIES])
    access(replay, READ, SPARSE)
    assert counter(replay, "pml_exits") == [0], "no bit has to be set"
    replay.sweep(Policy.AGE)
    access(replay, READ, SPARSE)
    assert counter(replay, "pml_exits") == [1], "the first accessed bit empties the log"
    assert counter(replay, "pml_entries") == [PML_ENTRIES]


def test_every_vcpu_has_a_log_of_its_own() -> None:
    replay = guest("skylake-sp", vcpus=2)
    access(replay, READ, SPARSE)
    access(replay, WRITE, SPARSE[:PML_ENTRIES], vcpu=0)
    access(replay, WRITE, SPARSE[PML_ENTRIES : 2 * PML_ENTRIES], vcpu=1)
    assert counter(replay, "pml_exits") == [0]
    access(replay, WRITE, SPARSE[2 * PML_ENTRIES : 2 * PML_ENTRIES + 1], vcpu=1)
    assert counter(replay, "pml_exits") == [1]


def test_a_harvest_empties_the_logs() -> None:
    replay = guest("skylake-sp")
    access(replay, READ, SPARSE)
    access(replay, WRITE, SPARSE[:500])
    replay.sweep(Policy.HARVEST)
    access(replay, WRITE, SPARSE[:500])
    assert counter(replay, "pml_entries") == [1000]
    assert counter(replay, "pml_exits") == [0]


def test_a_page_that_is_dirty_already_is_not_logged_again() -> None:
    replay = guest("skylake-sp")
    access(replay, READ, [7])
    access(replay, WRITE, [7, 7])
    replay.close_interval()
    access(replay, WRITE, [7])
    assert counter(replay, "pml_entries") == [1]


@pytest.mark.parametrize("name", ["broadwell:ad=off", "haswell", "ept-ad", "zen4"])
def test_a_cpu_without_the_log_or_without_dirty_bits_of_its_own_keeps_none(name: str) -> None:
    replay = guest(name)
    access(replay, READ, range(10))
    access(replay, WRITE, range(10))
    assert counter(replay, "pml_entries") == [0]
    assert counter(replay, "dirty_bits_4k") == [10]


def test_a_write_that_faults_sets_no_dirty_bit_later() -> None:
    replay = guest("ept-ad", "ept-emul", "x86")
    access(replay, WRITE, range(10))
    assert counter(replay, "dirty_bits_4k") == [0, 0, 0]


def test_the_first_write_after_a_harvest_leaves_the_guest_where_bits_are_emulated() -> None:
    replay = guest("ept-ad", "ept-emul")
    access(replay, WRITE, range(10))
    replay.sweep(Policy.HARVEST)
    access(replay, READ, range(10))
    access(replay, WRITE, [3, 4, 3])
    assert counter(replay, "refaults") == [0, 2]


def test_a_refault_is_one_even_harvests_later() -> None:
    replay = guest("ept-emul")
    access(replay, WRITE, range(10))
    replay.sweep(Policy.HARVEST)
    replay.sweep(Policy.HARVEST)
    access(replay, WRITE, [3])
    access(replay, WRITE, [3])
    assert counter(replay, "refaults") == [1]


def test_a_superpage_that_is_harvested_is_split_and_made_again() -> None:
    replay = guest("ept-ad", "ept-ad-nosp")
    access(replay, WRITE, range(512))
    assert counter(replay, "promotions") == [1, 0]
    replay.sweep(Policy.HARVEST)
    assert counter(replay, "harvest_demotions") == [1, 0]
    access(replay, WRITE, range(512))
    assert counter(replay, "repromotions") == [1, 0]
    assert counter(replay, "refaults")[0] > 0
    assert counter(replay, "refaults")[1] == 0


def test_what_a_harvest_costs_is_counted_apart() -> None:
    replay = guest("ept-ad", "x86", vcpus=3)
    access(replay, WRITE, range(100))
    before = [counter(replay, name) for name in ("ipis", "x86_ipis")]
    replay.sweep(Policy.HARVEST)
    assert counter(replay, "harvests") == [1, 1]
    assert counter(replay, "harvest_invalidations") == [100, 100]
    assert counter(replay, "harvest_ipis") == [300, 300]
    after = [counter(replay, name) for name in ("ipis", "x86_ipis")]
    assert after[0][0] - before[0][0] == 300
    assert after[1][1] - before[1][1] == 300


def test_pages_written_since_the_last_harvest_are_counted_once() -> None:
    replay = guest("ept-ad", "ept-emul")
    access(replay, WRITE, [1, 2, 2, 3])
    replay.close_interval()
    access(replay, WRITE, [3, 4])
    replay.sweep(Policy.HARVEST)
    access(replay, WRITE, [4])
    replay.sweep(Policy.HARVEST)
    assert replay.statistics.tally[0].harvest_written == 5
    assert not (replay.statistics.unharvested & UNHARVESTED).any()
    assert counter(replay, "dirty_all_harvests") == [5, 5]


def test_bits_that_are_put_back_are_found_by_the_next_harvest() -> None:
    """A migration failed after a harvest: what it had under way is marked dirty again, and nothing is lost."""
    replay = guest("ept-emul")
    access(replay, WRITE, range(20))
    replay.sweep(Policy.HARVEST)
    under_way = np.flatnonzero(replay.log.clean[0])
    assert under_way.tolist() == list(range(20))
    access(replay, WRITE, range(15, 30))
    replay.states.page["dirty"][0, under_way] = 1  # vm_page_dirty
    replay.sweep(Policy.HARVEST)
    assert counter(replay, "dirty_last_harvest") == [30]
