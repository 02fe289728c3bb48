"""TLBs against a slow list in order of use, walks counted by hand, flushes, and bits that stale translations keep clear."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eptreplay.compiled import entry_point
from eptreplay.ingest.native.reader import Batch
from eptreplay.model._numba.lanes import LANES, move_up, move_up_slowly
from eptreplay.model.cpu.tlb import (
    KINDS,
    LARGE,
    LEVELS,
    NO_STRUCTURE,
    NO_UNIT,
    SECOND,
    SIZES,
    SMALL,
    UNITS,
    host_size,
    new_tlbs,
    touch,
    walk_references,
)
from eptreplay.model.instances import GuestMemory
from eptreplay.model.state.fast_path import UNSAMPLED
from eptreplay.model.state.pte import PG_MANAGED
from eptreplay.model.state.state import State, instance
from eptreplay.profiles import TlbGeometry, names, resolve
from eptreplay.replay.driver.replay import Replay
from eptreplay.replay.rows.batch import row_batch
from eptreplay.replay.state.tlb_shapes import sets_and_ways, tlb_shapes
from eptreplay.request.choices import Policy
from eptreplay.request.options import TlbOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.model._numba.types import Records

READ, WRITE, FETCH = 0, 1, 2
PAGES = 2048
RAM = np.array([[0, 700], [900, PAGES]], np.int64)


@entry_point
def touch_from_python(entries: NDArray[np.uint64], units: Records, page: np.uint64, key: np.uint64) -> bool:
    """Call the kernel `touch` for the first of several units."""
    return touch(entries, units[0], page, key)


@entry_point
def move_from_python(
    entries: NDArray[np.uint64],
    at: np.uint64,
    key: np.uint64,
    before: np.uint64,
    ignored: np.uint64,
    kept: np.uint64,
    lanes: np.uint64,
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Call `move_up`."""
    found: tuple[np.uint64, np.uint64, np.uint64] = move_up(entries, at, key, before, ignored, kept, lanes)
    return found


def batch(accesses: list[tuple[int, int, int]]) -> Batch:
    """Return accesses (page, kind, vCPU) as rows."""
    columns: dict[str, Any] = {
        "gpa": np.array([page << 12 for page, _, _ in accesses], np.uint64),
        "op": np.array([op for _, op, _ in accesses], np.uint8),
        "vcpu": np.array([vcpu for _, _, vcpu in accesses], np.uint8),
    }
    for column in columns.values():
        column.flags.writeable = False
    return Batch(row_group=0, first_row=0, rows=len(accesses), size=None, count=None, time=None, **columns)


def replay_of(*profiles: str, vcpus: int = 1, **options: Any) -> Replay:  # noqa: ANN401 - TlbOptions' own
    return Replay([resolve(name) for name in profiles], [GuestMemory(RAM, vcpus)], tlb=TlbOptions(**options))


def crossing(rows: Batch, by_row: list[bool]) -> Batch:
    """Return rows of which some go on in the next page."""
    size = np.array([4097 if crosses else 1 for crosses in by_row], np.uint16)
    size.flags.writeable = False
    return replace(rows, size=size)


class SlowTlb:
    """A TLB as a list a set, the last used first."""

    def __init__(self, sets: int, ways: int) -> None:
        self.sets: list[list[int]] = [[] for _ in range(sets)]
        self.ways = ways

    def hit(self, page: int) -> bool:
        """Look for a page and make it the last used."""
        chosen = self.sets[page % len(self.sets)]
        found = page in chosen
        if found:
            chosen.remove(page)
        chosen.insert(0, page)
        del chosen[self.ways :]
        return found


def slow_misses(profile: str, accesses: list[tuple[int, int, int]]) -> tuple[list[int], list[int]]:
    """Return first-level and second-level misses by kind, from lists; nothing is ever flushed."""
    units, route = tlb_shapes([resolve(profile)], resolve("haswell"))
    tlbs = {
        (vcpu, unit): SlowTlb(*units[0, unit].tolist())
        for vcpu in range(2)
        for unit in range(len(units[0]))
        if units[0, unit, 1]
    }
    first, second = [0, 0, 0], [0, 0, 0]
    for page, op, vcpu in accesses:
        if not any(begin <= page < end for begin, end in RAM.tolist()):
            continue
        if not tlbs[vcpu, int(route[0, op, 0, 0])].hit(page):
            first[op] += 1
            if not tlbs[vcpu, int(route[0, op, 0, 1])].hit(page):
                second[op] += 1
    return first, second


@pytest.mark.parametrize("profile", ["nehalem", "haswell", "skylake-sp", "icelake-sp", "zen2", "zen4"])
@settings(max_examples=15)
@given(data=st.data())
def test_misses_are_those_of_lists_in_order_of_use(profile: str, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**32))
    spread = data.draw(st.sampled_from([16, 100, 1500, PAGES + 20]))
    rng = np.random.default_rng(seed)
    count = data.draw(st.integers(1, 3000))
    accesses = list(
        zip(
            rng.integers(0, spread, count).tolist(),
            rng.integers(0, 3, count).tolist(),
            rng.integers(0, 2, count).tolist(),
            strict=True,
        )
    )
    replay = replay_of(profile, vcpus=2)
    cut = count // 3
    replay.replay(row_batch(batch(accesses), 0, None), 0, cut)
    replay.close_interval()
    replay.replay(row_batch(batch(accesses), 0, None), cut, count)
    found = replay.tlb_counters()[0]
    assert found["flushes"] == 0, "the lists know of no flushes"
    first, second = slow_misses(profile, accesses)
    assert found["first_misses"].tolist() == first
    assert found["misses"].tolist() == second
    assert found["walks"].sum() == sum(second)


@pytest.mark.parametrize("profile", ["haswell", "icelake-sp", "zen4"])
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), structures=st.sampled_from([0, 2]))
def test_rows_that_cross_pages_and_holes_miss_as_lists_do(profile: str, seed: int, structures: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 2000))
    spread = int(rng.choice([20, 720, PAGES + 20]))
    accesses = list(
        zip(
            rng.integers(max(0, spread - 120) if spread == 720 else 0, spread, count).tolist(),
            rng.integers(0, 3, count).tolist(),
            rng.integers(0, 2, count).tolist(),
            strict=True,
        )
    )
    by_row = (rng.random(count) < 0.2).tolist()
    translations = [
        (page + part, op, vcpu)
        for (page, op, vcpu), crosses in zip(accesses, by_row, strict=True)
        for part in range(1 + crosses)
    ]
    replay = replay_of(profile, vcpus=2, structures=structures)
    for _ in range(2):
        replay.replay(row_batch(crossing(batch(accesses), by_row), 0, None), 0, count)
    found = replay.tlb_counters()[0]
    first, second = slow_misses(profile, translations * 2)
    assert found["first_misses"].tolist() == first
    assert found["misses"].tolist() == second
    assert found["walks"].sum() == sum(second)


@settings(max_examples=60)
@given(
    sets=st.sampled_from([1, 2, 8]),
    ways=st.integers(1, 40),
    accesses=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), max_size=300),
)
def test_a_set_is_a_list_in_order_of_use_and_remembers_kinds_of_access(
    sets: int, ways: int, accesses: list[tuple[int, int]]
) -> None:
    units = np.zeros((1, UNITS, 2), np.int64)
    units[0, 0] = sets, ways
    route = np.full((1, KINDS, SIZES, LEVELS), NO_UNIT, np.int32)
    route[:, :, SMALL, 0] = 0
    tlbs = new_tlbs(units, route, vcpus=1)
    lists: list[list[tuple[int, int]]] = [[] for _ in range(sets)]
    for page, op in accesses:
        chosen = lists[page % sets]
        used = next((bits for held, bits in chosen if held == page), 0)
        key = np.uint64(((page + 1) << 4) | (1 << op))
        assert touch_from_python(tlbs.entry[0, 0], tlbs.unit[0], np.uint64(page), key) == (used != 0)
        rest = [entry for entry in chosen if entry[0] != page]
        lists[page % sets] = [(page, used | (1 << op)), *rest][:ways]
    step = int(tlbs.unit[0, 0].step)
    for number, chosen in enumerate(lists):
        expected = [((page + 1) << 4) | bits for page, bits in chosen]
        assert tlbs.entry[0, 0, number * step : (number + 1) * step].tolist() == expected + [0] * (
            step - len(expected)
        )
    assert not tlbs.entry[0, 0, sets * step :].any(), "what lies beyond the sets stays empty"


@pytest.mark.parametrize("lanes", [0, 1, 4, 8])
@settings(max_examples=60)
@given(
    old=st.lists(st.integers(1, 12), min_size=LANES, max_size=LANES, unique=True),
    bits=st.lists(st.integers(0, 7), min_size=LANES, max_size=LANES),
    page=st.integers(1, 12),
    kept=st.sampled_from([0, 7]),
)
def test_compiled_and_plain_code_move_a_group_alike(
    lanes: int, old: list[int], bits: list[int], page: int, kept: int
) -> None:
    group = [
        (held << 4) | used if lane < lanes else 0
        for lane, (held, used) in enumerate(zip(old, bits, strict=True))
    ]
    word = np.uint64
    arguments = (word(8), word((page << 4) | 1), word(0x7770), word(7), word(kept), word((1 << lanes) - 1))
    entries = np.array([[5] * 8 + group + [5] * 8] * 2, np.uint64)
    compiled = move_from_python(entries[0], *arguments)
    plain = move_up_slowly(entries[1], *arguments)
    assert [int(part) for part in compiled] == [int(part) for part in plain]
    assert entries[0].tolist() == entries[1].tolist()


@pytest.mark.parametrize(
    ("guest_large", "host_large", "references"),
    [(False, False, 24), (False, True, 19), (True, False, 19), (True, True, 15)],
)
def test_a_cold_walk_refers_to_memory_as_often_as_counted_by_hand(
    guest_large: bool, host_large: bool, references: int
) -> None:
    guest, host = walk_references(guest_large, host_large)
    assert guest.sum() + host.sum() == references


def test_a_cold_walk_of_4_kb_pages_refers_to_every_level_of_the_host_five_times() -> None:
    guest, host = walk_references(guest_large=False, host_large=False)
    assert guest.tolist() == [1, 1, 1, 1]
    assert host.tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize("guest_large", [False, True])
@pytest.mark.parametrize("host_large", [False, True])
def test_the_nearer_the_cached_structure_the_fewer_references(guest_large: bool, host_large: bool) -> None:
    totals = [
        int(sum(part.sum() for part in walk_references(guest_large, host_large, structure)))
        for structure in range(NO_STRUCTURE + 1)
    ]
    assert totals == sorted(totals)
    assert totals[0] < totals[-1]


def test_structure_caches_serve_neighbours() -> None:
    replay = replay_of("haswell", structures=4)
    replay.replay(row_batch(batch([(1, READ, 0), (2, READ, 0), (512, READ, 0)]), 0, None), 0, 3)
    small = replay.tlb_counters()[0]["walks"][0]
    assert small.tolist() == [1, 1, 0, 1], "page 2 shares a table with page 1, page 512 only the level above"


def test_an_invalidation_flushes_all_cpus_and_costs_each_an_invept() -> None:
    replay = replay_of("ept-ad", vcpus=2)
    pages = [(1, READ, 0), (1, READ, 1)]
    replay.replay(row_batch(batch(pages), 0, None), 0, 2)
    assert replay.tlb_counters()[0]["misses"].tolist() == [2, 0, 0]
    replay.sweep(Policy.AGE)
    replay.replay(row_batch(batch(pages), 0, None), 0, 2)
    found = replay.tlb_counters()[0]
    assert found["misses"].tolist() == [4, 0, 0]
    assert (found["flushes"], found["invepts"]) == (1, 2)


@pytest.mark.parametrize("profile", ["ept-ad", "x86"])
@pytest.mark.parametrize("op", [READ, WRITE])
def test_a_bit_cleared_without_a_flush_stays_clear_until_one(profile: str, op: int) -> None:
    replay = replay_of(profile)
    replay.replay(row_batch(batch([(1, op, 0)]), 0, None), 0, 1)
    pmap = replay.states.pmap[0, 0]
    (leaf,) = np.flatnonzero((replay.states.pt[0] & PG_MANAGED) != 0).tolist()
    bits = pmap.PG_A | pmap.PG_M
    replay.states.pt[0, leaf] &= ~bits
    replay.states.fast_path[1] = UNSAMPLED
    replay.replay(row_batch(batch([(1, op, 0)]), 0, None), 0, 1)
    assert replay.states.pt[0, leaf] & bits == 0
    assert replay.tlb_counters()[0]["stale"] == 1
    replay.states.cnt["inv_all"] += 1
    replay.replay(row_batch(batch([(1, op, 0)]), 0, None), 0, 1)
    assert replay.states.pt[0, leaf] & pmap.PG_A != 0
    assert (replay.states.pt[0, leaf] & pmap.PG_M != 0) == (op == WRITE)


def test_a_write_through_a_translation_that_a_read_made_sets_the_dirty_bit() -> None:
    replay = replay_of("ept-ad")
    replay.replay(row_batch(batch([(1, READ, 0), (1, WRITE, 0)]), 0, None), 0, 2)
    assert replay.tlb_counters()[0]["dirty_walks"] == 1
    assert replay.states.cnt["dirty_bits_4k"][0, 0] == 1


def test_a_guest_of_large_pages_has_large_translations_where_the_host_does() -> None:
    replay = replay_of("ept-ad", guest_large=True)
    rows = [(1024 + page, WRITE, 0) for page in range(512)]
    replay.replay(row_batch(batch(rows), 0, None), 0, 512)
    assert replay.states.cnt["promotions"][0, 0] == 1
    before = replay.tlb_counters()[0]
    replay.states.cnt["inv_all"] += 1
    replay.replay(row_batch(batch(rows), 0, None), 0, 512)
    found = replay.tlb_counters()[0]
    assert found["misses"].sum() == before["misses"].sum() + 1
    assert found["walks"][1].sum() == before["walks"][1].sum() + 1


def test_a_4_kb_translation_left_in_the_second_level_does_not_hide_a_2_mb_one_in_the_first() -> None:
    """The pages of a block are written one by one, so their 4 KB translations are from before its promotion."""
    replay = replay_of("haswell", guest_large=True)
    pages = [(1024 + page, WRITE, 0) for page in range(1024)]
    replay.replay(row_batch(batch(pages), 0, None), 0, len(pages))
    assert replay.states.cnt["promotions"][0, 0] == 2
    before = replay.tlb_counters()[0]
    reads = [(page, READ, 0) for page, _, _ in pages] * 3
    replay.replay(row_batch(batch(reads), 0, None), 0, len(reads))
    found = replay.tlb_counters()[0]
    assert (found["misses"] == before["misses"]).all()
    assert found["first_misses"][READ] <= 2, "once a block at most"


class SlowTlbs:
    """The two levels of a CPU for pages of both sizes: a translation is (size, page of that size)."""

    def __init__(self, profile: str) -> None:
        """Take the CPU."""
        units, route = tlb_shapes([resolve(profile)], resolve("haswell"))
        self.route = route[0].tolist()
        self.shapes = units[0].tolist()
        self.first_misses, self.misses = [0, 0, 0], [0, 0, 0]
        self.flush()

    def flush(self) -> None:
        """Forget all translations."""
        self.sets: list[list[list[tuple[int, int]]]] = [[[] for _ in range(sets)] for sets, _ in self.shapes]

    def _set(self, unit: int, translation: tuple[int, int]) -> list[tuple[int, int]]:
        chosen: list[tuple[int, int]] = self.sets[unit][translation[1] % len(self.sets[unit])]
        return chosen

    def access(self, page: int, op: int, host_size: int) -> None:
        """Look a page up in the first level, then in the second, then in the tables; all levels asked hold it then."""
        small, large = (SMALL, page), (LARGE, page >> 9)
        for level in range(LEVELS):
            for translation in (small, large):
                unit = self.route[op][translation[0]][level]
                if unit != NO_UNIT and translation in self._set(unit, translation):
                    self._use(translation, op, level)
                    self.first_misses[op] += level
                    return
        self.first_misses[op] += 1
        self.misses[op] += 1
        self._use(large if host_size == LARGE else small, op, SECOND)

    def _use(self, translation: tuple[int, int], op: int, last: int) -> None:
        for level in range(last + 1):
            unit = self.route[op][translation[0]][level]
            if unit != NO_UNIT:
                chosen = self._set(unit, translation)
                if translation in chosen:
                    chosen.remove(translation)
                chosen.insert(0, translation)
                del chosen[self.shapes[unit][1] :]


@entry_point
def size_from_python(states: State, page: np.uint64) -> int:
    """Call `host_size` for the first instance."""
    return int(host_size(instance(states, 0), page))


@pytest.mark.parametrize("profile", ["nehalem", "haswell", "skylake-sp", "icelake-sp", "zen2", "zen4"])
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32), spread=st.sampled_from([40, 300, 1124]))
def test_with_2_mb_guest_pages_misses_are_those_of_lists_whatever_is_promoted_meanwhile(
    profile: str, seed: int, spread: int
) -> None:
    rng = np.random.default_rng(seed)
    slow = SlowTlbs(profile)
    replay = replay_of(profile, guest_large=True)
    flushes = 0
    scattered = rng.integers(PAGES - spread, PAGES, 1200).tolist()
    in_order = [PAGES - 1024 + page for page in range(1024)]
    at = int(rng.integers(0, len(scattered)))
    for number, page in enumerate([*scattered[:at], *in_order, *scattered[at:]]):
        op = int(rng.integers(0, 3))
        if rng.random() < 0.001:
            replay.sweep(Policy.AGE)
        replay.replay(row_batch(batch([(page, op, 0)]), 0, None), 0, 1)
        found = replay.tlb_counters()[0]
        if found["flushes"] != flushes:
            flushes = found["flushes"]
            slow.flush()
        slow.access(page, op, size_from_python(replay.states, np.uint64(page)))
        assert found["first_misses"].tolist() == slow.first_misses, number
        assert found["misses"].tolist() == slow.misses, number


@pytest.mark.parametrize("profile", [name for name in names() if resolve(name, even_refused=True).tlb])
def test_every_kind_of_access_to_a_page_of_either_size_is_served_by_some_tlb(profile: str) -> None:
    _, route = tlb_shapes([resolve(profile, even_refused=True)], resolve("haswell"))
    unserved = np.argwhere((route[0] == NO_UNIT).all(axis=2))
    assert unserved.tolist() == []


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        (TlbGeometry(64, 4), (16, 4)),
        (TlbGeometry(64, "full"), (1, 64)),
        (TlbGeometry(1536, 12), (128, 12)),
        (TlbGeometry(2048, None), (256, 8)),
        (TlbGeometry(3072, None), (256, 12)),
        (TlbGeometry(7, "full"), (1, 7)),
    ],
)
def test_sets_are_a_power_of_two(geometry: TlbGeometry, expected: tuple[int, int]) -> None:
    assert sets_and_ways(geometry) == expected
