"""The buddy allocator and reservations against a model of dictionaries and lists that follows the rules as they are written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eptreplay.model.instances import GuestMemory, guest_bases, new_instances
from eptreplay.model.recorded import frames as recorded
from eptreplay.model.state import pte
from eptreplay.model.vm.conservation import HOLDS, check_instances
from eptreplay.model.vm.vm_limits import HostMemory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eptreplay.model.state.state import State

BLOCK = 512
POOLS = 3
ORDERS = 13
GUESTS, KERNEL = 0, 1


class Frames:
    """Frames of a host as the rules say: runs in lists by pool and order, reservations by block, all in dictionaries."""

    def __init__(self, frames: int, reserved: int) -> None:
        self.frames = frames
        self.free = 0
        self.v_free_reserved = reserved
        self.lists: dict[tuple[int, int], list[int]] = {
            (pool, order): [] for pool in range(POOLS) for order in range(ORDERS)
        }
        self.pool = dict.fromkeys(range(frames), GUESTS)
        self.reservations: dict[tuple[int, int], int] = {}  # by object and block of pages: block of frames
        self.used: dict[int, set[int]] = {}  # by block of frames that is reserved: frames in use
        self.queue: list[int] = []
        self.resident: dict[tuple[int, int], int] = {}
        self.broken = 0
        for frame in range(frames):
            self.free_run(frame, 0)
            self.free += 1

    def run_at(self, frame: int, order: int) -> bool:
        return any(frame in self.lists[pool, order] for pool in range(POOLS))

    def free_run(self, frame: int, order: int) -> None:
        pool = self.pool[frame]
        while order < ORDERS - 1 and self.run_at(frame ^ (1 << order), order):
            buddy = frame ^ (1 << order)
            self.lists[self.pool[buddy], order].remove(buddy)
            order += 1
            frame = min(frame, buddy)
        for each in range(frame, frame + (1 << order)):
            self.pool[each] = pool
        self.lists[pool, order].append(frame)

    def take_run(self, pool: int, order: int) -> int | None:
        own = [(pool, larger) for larger in range(order, ORDERS)]
        others = [(other, larger) for larger in range(ORDERS - 1, order - 1, -1) for other in range(POOLS)]
        for source, found in own + others:
            if self.lists[source, found]:
                frame = self.lists[source, found].pop(0)
                for each in range(frame, frame + (1 << found)):
                    self.pool[each] = pool
                for half in range(found - 1, order - 1, -1):
                    self.lists[pool, half].insert(0, frame + (1 << half))
                return frame
        return None

    def single(self, pool: int) -> int | None:
        frame = self.take_run(pool, 0)
        if frame is None and self.queue:
            block = self.queue.pop(0)
            self.broken += 1
            used = self.used.pop(block)
            self.reservations = {key: value for key, value in self.reservations.items() if value != block}
            for each in range(block * BLOCK, block * BLOCK + BLOCK):
                if each not in used:
                    self.free_run(each, 0)
            frame = self.take_run(pool, 0)
        return frame

    def alloc(self, number: int, page: int, first: int) -> tuple[int, int]:
        """Give a frame to a page of an object that begins at `first`; return it and how, as the recordings write it."""
        if self.free <= self.v_free_reserved:
            return -1, -1
        begin = page - page % BLOCK
        key, how = (number, begin), 1
        if begin >= first and key not in self.reservations:
            how = 2
            alone = not any((number, each) in self.resident for each in range(begin, begin + BLOCK))
            run = self.take_run(GUESTS, 9) if alone else None
            if run is not None:
                self.reservations[key] = run // BLOCK
                self.used[run // BLOCK] = set()
        frame: int | None
        if begin >= first and key in self.reservations:
            block = self.reservations[key]
            frame = block * BLOCK + page % BLOCK
            self.used[block].add(frame)
            if block in self.queue:
                self.queue.remove(block)
            if len(self.used[block]) < BLOCK:
                self.queue.append(block)
        else:
            frame, how = self.single(GUESTS), 0
        if frame is None:
            return -1, -1
        self.resident[number, page] = frame
        self.free -= 1
        return frame, how

    def release(self, number: int, page: int) -> None:
        frame = self.resident.pop((number, page))
        self.free += 1
        block = frame // BLOCK
        if block not in self.used:
            self.free_run(frame, 0)
            return
        self.used[block].remove(frame)
        if block in self.queue:
            self.queue.remove(block)
        if self.used[block]:
            self.queue.append(block)
        else:
            del self.used[block]
            self.reservations = {key: value for key, value in self.reservations.items() if value != block}
            self.free_run(block * BLOCK, 9)

    def kernel_page(self) -> int:
        if self.free <= self.v_free_reserved:
            return -1
        frame = self.single(KERNEL)
        self.free -= frame is not None
        return -1 if frame is None else frame

    def release_kernel_page(self, frame: int) -> None:
        self.free_run(frame, 0)
        self.free += 1


OBJECTS = ((100, 3000), (512, 1400))

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fill", "fill", "scatter", "free", "kalloc", "kfree"]),
        st.integers(0, 1),
        st.integers(0, 2900),
        st.integers(1, 700),
    ),
    max_size=20,
)


def single_steps(steps: Sequence[tuple[str, int, int, int]]) -> Iterator[tuple[str, int, int]]:
    """Yield allocations and frees of single pages: runs, and pages far apart."""
    for name, number, first, pages in steps:
        begin, end = OBJECTS[number]
        if name in ("kalloc", "kfree"):
            yield from ((name, 0, first * 7 + i) for i in range(pages % 60))
        else:
            step = 1 if name != "scatter" else 97
            page = begin + first % (end - begin)
            yield from (
                ("free" if name == "free" else "alloc", number, each)
                for each in range(page, min(page + pages, end), step)
            )


def new_host(frames: int, reserved: int) -> State:
    guests = [GuestMemory(np.array([pages], np.int64), 1) for pages in OBJECTS]
    kinds = np.full(1, pte.PT_EPT, np.int64), np.zeros(1, np.int64)
    states = new_instances(*kinds, guests, [HostMemory(frames=frames, identity=False)], 1 << 32)
    states.vm.v_free_reserved[:] = reserved
    states.vm.page_tables_count[:] = 1
    return states


def lists_of(states: State) -> dict[tuple[int, int], list[int]]:
    found = np.zeros((states.page.shape[1], 3), np.int64)
    lists: dict[tuple[int, int], list[int]] = {}
    for pool, order, frame in found[: recorded.list_free_runs(states, found)].tolist():
        lists.setdefault((pool, order), []).append(frame)
    return lists


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, frames=st.integers(600, 9000), reserved=st.integers(0, 60))
def test_frames_are_those_of_the_rules(
    steps: list[tuple[str, int, int, int]], frames: int, reserved: int
) -> None:
    rules, states = Frames(frames, reserved), new_host(frames, reserved)
    bases = guest_bases([GuestMemory(np.array([pages], np.int64), 1) for pages in OBJECTS])
    kernel_pages: list[int] = []
    asked: list[tuple[int, int, int]] = []
    expected: list[tuple[int, int]] = []
    numbers: list[int] = []
    for name, number, page in single_steps(steps):
        if name == "kalloc":
            frame = rules.kernel_page()
            asked.append((recorded.KALLOC, len(numbers), 0))
            kernel_pages += [len(numbers)] if frame >= 0 else []
            numbers.append(frame)
            expected.append((frame, -1))
        elif name == "kfree" and kernel_pages:
            which = kernel_pages.pop(page % len(kernel_pages))
            rules.release_kernel_page(numbers[which])
            asked.append((recorded.KFREE, which, 0))
            expected.append((-1, -1))
        elif name == "alloc" and (number, page) not in rules.resident:
            expected.append(rules.alloc(number, page, OBJECTS[number][0]))
            asked.append((recorded.ALLOC, number, bases[number] + page))
        elif name == "free" and (number, page) in rules.resident:
            expected.append((rules.resident[number, page], -1))
            rules.release(number, page)
            asked.append((recorded.FREE, number, bases[number] + page))
    answers = np.zeros((len(asked), 2), np.int64)
    known = np.zeros(len(numbers) + 1, np.int64)
    steps_made = np.array(asked, np.int64).reshape(-1, 3)
    assert recorded.run_frame_steps(states, steps_made, known, answers) == len(asked)
    assert [tuple(answer) for answer in answers.tolist()] == expected
    assert lists_of(states) == {key: runs for key, runs in rules.lists.items() if runs}
    partpop = np.zeros((states.rv.shape[1], 2), np.int64)
    length = recorded.list_partpop(states, partpop)
    assert partpop[:length].tolist() == [[block, len(rules.used[block])] for block in rules.queue]
    assert int(states.vm.v_free_count[0, 0]) == rules.free
    assert int(states.cnt["reservations_broken"].sum()) == rules.broken
    every_frame = np.concatenate(
        [
            np.flatnonzero(states.page["allocated"][0]),
            [numbers[which] for which in kernel_pages],
            *free_frames(states),
        ]
    )
    assert sorted(every_frame.tolist()) == list(range(frames))


def free_frames(states: State) -> Iterator[np.ndarray]:
    """Yield the frames of free runs, and the free ones of reservations."""
    for (_, order), runs in lists_of(states).items():
        yield from (np.arange(run, run + (1 << order)) for run in runs)
    for block in np.flatnonzero(states.rv["object_block"][0]):
        inside = np.arange(block * BLOCK, (block + 1) * BLOCK)
        yield inside[states.page["allocated"][0, inside] == 0]


@pytest.mark.parametrize("frames", [1, 511, 512, 4095, 4096, 4097, 10000, 123457])
def test_memory_begins_as_if_every_frame_was_freed_singly_ascending(frames: int) -> None:
    states = new_host(frames, 0)
    largest = frames >> 12
    expected = {(GUESTS, 12): [run << 12 for run in range(largest)]} if largest else {}
    begin = largest << 12
    for order in range(11, -1, -1):
        if frames & 1 << order:
            expected[GUESTS, order] = [begin]
            begin += 1 << order
    assert lists_of(states) == expected
    if frames <= 10000:
        assert {key: runs for key, runs in Frames(frames, 0).lists.items() if runs} == expected


def test_a_fragmented_block_begins_with_one_frame_in_use_and_is_never_reserved() -> None:
    guest = GuestMemory(np.array([[0, 4 * BLOCK]], np.int64), 1)
    host = HostMemory(frames=4 * BLOCK, identity=False, in_use=2)
    states = new_instances(np.full(1, pte.PT_EPT, np.int64), np.zeros(1, np.int64), [guest], [host], 1 << 32)
    assert int(states.vm.v_free_count[0, 0]) == 4 * BLOCK - 2
    assert int(states.vm.v_wire_count[0, 0]) == 2
    found = np.zeros(3, np.uint64)
    with np.errstate(over="ignore"):
        recorded.frame_digests(states, 0, found)
    assert int(found[2]) == 2
    assert sorted(order for _, order in lists_of(states)) == [*range(9), 9]
    assert check_instances(states) == HOLDS
