"""Random events of every kind over two guests and their hypervisor processes, against a dictionary of what every page is.

Memory is enough, so that the page daemon never runs: then what becomes of a page follows from the events on it alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_host import FETCH, READ, WRITE, SmallHost

from eptreplay.model.pmap.pmap_range import MADV_DONTNEED, MADV_FREE
from eptreplay.model.vm import answers, hypervisor, vm_map, vm_wire
from eptreplay.model.vm.vm_map_entry import pages_mapped

R, W, X = 1, 2, 4
ALL = R | W | X
PAGES = 48
RIGHTS = {READ: R, WRITE: W, FETCH: X}
ACTIVE, INACTIVE = 2, 1


@dataclass
class Page:
    """What is known of a guest page."""

    mapped: bool = True
    """By a map entry."""
    rights: int = ALL
    wired: bool = False
    resident: bool = False
    kept: int = 0
    """Wirings of the page, those left for ever included."""
    holds: int = 0
    entered: bool = False
    """By the guest's own tables."""
    writable: bool = False
    orphans: list[int] = field(default_factory=list)
    """Holds of pages that were taken from the guest while they were held."""


class Rules:
    """Two guests' pages by the rules as they are written down."""

    def __init__(self) -> None:
        self.pages = {(guest, page): Page() for guest in range(2) for page in range(PAGES)}
        self.processes: set[int] = set()

    def access(self, guest: int, page: int, right: int) -> None:
        known = self.pages[guest, page]
        if known.mapped and (known.rights & right or (right == X and known.entered)):
            self._fault(known, right)

    def _fault(self, known: Page, right: int) -> None:
        """Map a page unless it is; x86 and EPT entries that give a right need no fault for it."""
        if not known.entered or (right == W and not known.writable):
            known.entered = known.resident = True
            known.writable = bool(known.rights & W)

    def wire(self, guest: int, first: int, end: int) -> int:
        pages = [self.pages[guest, page] for page in range(first, end)]
        if not all(known.mapped for known in pages):
            return answers.NOT_MEMORY
        if not all(known.rights & (R | X) for known in pages):
            # What came before the first that cannot be wired was brought in, wired and unwired again.
            for known in pages:
                if not known.rights & (R | X):
                    return answers.NOT_ALLOWED
                if not known.wired:
                    known.resident = known.entered = True
                    known.writable = bool(known.rights & W)
        for known in pages:
            if not known.wired:
                known.wired = known.resident = known.entered = True
                known.writable = bool(known.rights & W)
                known.kept += 1
        return answers.OK

    def unwire(self, guest: int, first: int, end: int) -> int:
        pages = [self.pages[guest, page] for page in range(first, end)]
        if not all(known.mapped for known in pages):
            return answers.NOT_MEMORY
        found = [known for known in pages if known.wired]
        for known in found:
            known.wired = False
            known.kept -= known.entered  # without a mapping it stays wired for ever
        return answers.OK if found else answers.NOT_WIRED

    def hold(self, guest: int, page: int, rights: int) -> int:
        known = self.pages[guest, page]
        if not known.mapped:
            return answers.NOT_MEMORY
        if rights & ~known.rights:
            return answers.NOT_ALLOWED
        self._fault(known, W if rights & W else R)
        known.holds += 1
        return answers.OK

    def release(self, guest: int, page: int) -> int:
        known = self.pages[guest, page]
        if known.orphans:
            known.orphans[0] -= 1
            known.orphans = [holds for holds in known.orphans if holds]
            return answers.OK
        if known.holds == 0:
            return answers.NO_HOLD
        known.holds -= 1
        return answers.OK

    def protect(self, guest: int, first: int, end: int, rights: int) -> int:
        pages = [self.pages[guest, page] for page in range(first, end)]
        if not all(known.mapped for known in pages):
            return answers.NOT_MEMORY
        for known in pages:
            if known.rights & ~rights:
                known.entered &= bool(rights & R)
                known.writable &= known.entered and bool(rights & W)
            known.rights = rights
        return answers.OK

    def unmap(self, guest: int, first: int, end: int) -> int:
        if not all(self.pages[guest, page].mapped for page in range(first, end)):
            return answers.NOT_MEMORY
        for page in range(first, end):
            known = self.pages[guest, page]
            orphans = [*known.orphans, known.holds] if known.holds else known.orphans
            self.pages[guest, page] = Page(mapped=False, orphans=orphans)
        return answers.OK

    def map(self, guest: int, page: int) -> int:
        known = self.pages[guest, page]
        answer = answers.IS_THERE if known.mapped else answers.OK
        known.mapped = True
        return answer


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "access",
                "access",
                "wire",
                "unwire",
                "hold",
                "release",
                "protect",
                "unmap",
                "map",
                "advise",
                "process",
                "scan",
            ]
        ),
        st.integers(0, 1),
        st.integers(0, PAGES - 1),
        st.integers(1, 6),  # pages
        st.integers(0, 7),  # rights, kind or advice
    ),
    max_size=50,
)


def carry_out_on_range(host: SmallHost, rules: Rules, event: tuple[str, int, int, int, int]) -> None:
    """Carry out an event on a range on the model and on the rules, and compare the answers."""
    name, guest, page, pages, bits = event
    states, flat = host.replay.states, host.bases[guest] + page
    end = min(page + pages, PAGES)
    length = end - page
    if name == "wire":
        assert vm_wire.vm_map_wire(states, guest, flat, length) == rules.wire(guest, page, end)
    elif name == "unwire":
        assert vm_wire.vm_map_unwire(states, guest, flat, length) == rules.unwire(guest, page, end)
    elif name == "protect":
        assert vm_map.vm_map_protect(states, guest, flat, length, bits) == rules.protect(
            guest, page, end, bits
        )
    elif name == "unmap":
        assert vm_map.vm_map_delete(states, guest, flat, length) == rules.unmap(guest, page, end)
    else:
        known = vm_map.vm_map_madvise(states, guest, flat, length, (MADV_DONTNEED, MADV_FREE)[bits % 2])
        mapped = all(rules.pages[guest, each].mapped for each in range(page, end))
        assert known == (answers.OK if mapped else answers.NOT_MEMORY)


RANGES = {"wire", "unwire", "protect", "unmap", "advise"}


def carry_out(host: SmallHost, rules: Rules, event: tuple[str, int, int, int, int]) -> None:
    """Carry an event out on the model and on the rules, and compare the answers."""
    name, guest, page, pages, bits = event
    states, flat = host.replay.states, host.bases[guest] + page
    end = min(page + pages, PAGES)
    if name in RANGES:
        carry_out_on_range(host, rules, event)
    elif name == "access":
        kind = (READ, WRITE, FETCH)[bits % 3]
        host.access(kind, range(page, end), guest)
        for each in range(page, end):
            rules.access(guest, each, RIGHTS[kind])
    elif name == "hold":
        rights = (R, W, R | W)[bits % 3]
        assert hypervisor.hold(states, guest, flat, rights) == rules.hold(guest, page, rights)
    elif name == "release":
        assert hypervisor.release(states, guest, flat) == rules.release(guest, page)
    elif name == "map":
        assert vm_map.vm_map_insert(states, guest, flat) == rules.map(guest, page)
    elif name == "process":
        answer = hypervisor.host_access(states, guest, flat, bits % 2 == 1)
        touched = rules.pages[guest, page]
        assert answer == (answers.OK if touched.mapped else answers.NOT_MEMORY)
        touched.resident |= touched.mapped
        rules.processes |= {guest}
    else:
        host.scan()


def compare(host: SmallHost, rules: Rules) -> None:
    """Compare what is known of every page, and the sums over all."""
    states = host.replay.states
    frames = []
    orphans = sum(len(known.orphans) for known in rules.pages.values())
    for guest in range(2):
        for page in range(PAGES):
            known, flat = rules.pages[guest, page], host.bases[guest] + page
            assert pages_mapped(states, guest, flat, 1) == known.mapped
            frame = int(states.object.frame[0, flat]) - 1
            assert (frame >= 0) == known.resident, (guest, page)
            assert bool(states.object.wired[0, flat]) == known.wired
            if frame < 0:
                continue
            frames.append(frame)
            facts = states.pageq[0, frame]
            assert (int(facts.wire_count), int(facts.hold_count)) == (known.kept, known.holds), (guest, page)
            assert (int(facts.queue) in (ACTIVE, INACTIVE)) == (known.kept == 0)
    assert len(set(frames)) == len(frames)
    kernel = host.vm("kernel_pages")
    wired = sum(known.kept != 0 for known in rules.pages.values())
    assert host.vm("v_wire_count") == wired + kernel
    assert host.vm("v_free_count") == host.vm("v_page_count") - len(frames) - orphans - kernel
    assert host.count("held") + host.count("held", guest=1) == sum(
        known.holds + sum(known.orphans) for known in rules.pages.values()
    )
    assert host.broken_law() == ""


@pytest.mark.parametrize("profile", ["ept-ad", "x86"])
@settings(max_examples=60, deadline=None)
@given(events=EVENTS, offset=st.sampled_from([0, 5]))
def test_every_page_is_what_the_events_make_of_it(
    profile: str, events: list[tuple[str, int, int, int, int]], offset: int
) -> None:
    host = SmallHost(
        profile,
        frames=1400,
        guests=(PAGES, PAGES),
        identity=False,
        page_tables_count=True,
        host_offset=offset,
    )
    rules = Rules()
    for event in events:
        carry_out(host, rules, event)
    compare(host, rules)


def test_blocks_of_memory_that_the_process_touches_first_lie_across_the_guests() -> None:
    promotions = []
    for offset in (0, 5):
        host = SmallHost("ept-ad", frames=4096, guests=(3 * 512,), identity=False, host_offset=offset)
        assert hypervisor.host_access(host.replay.states, 0, 700, True) == answers.OK
        host.access(WRITE, range(3 * 512))
        promotions.append(host.count("promotions"))
        assert host.broken_law() == ""
    assert promotions == [3, 0]


def test_a_fault_of_the_process_maps_neighbours_until_one_is_not_in_memory() -> None:
    host = SmallHost("ept-ad", frames=200, guests=(PAGES,), identity=False)
    states = host.replay.states
    host.access(WRITE, [*range(8, 14), 16])
    faults = []
    for page in (12, 11, 13, 10, 9, 8, 16):
        assert hypervisor.host_access(states, 0, page, False) == answers.OK
        faults.append(host.count("host_faults"))
    # There is no table before the first fault, so it maps the others too: 11, 13, 10; then 14 is not in memory.
    assert faults == [1, 1, 1, 1, 2, 2, 3]


def test_a_range_as_large_as_a_superpage_leaves_it_whole() -> None:
    host = SmallHost("ept-ad", frames=2048, guests=(1024,), identity=False, page_tables_count=True)
    states = host.replay.states
    host.access(WRITE, range(1024))
    assert vm_map.vm_map_protect(states, 0, 0, 512, R) == answers.OK
    assert vm_map.vm_map_delete(states, 0, 512, 512) == answers.OK
    assert host.count("demotions") == 0
    assert host.pages()["superpage"][:512].all()
    assert vm_map.vm_map_protect(states, 0, 0, 511, R | X) == answers.OK
    assert vm_map.vm_map_protect(states, 0, 0, 100, 0) == answers.OK
    assert host.count("demotions") == 1
    assert host.broken_law() == ""
    assert np.count_nonzero(host.pages()["mapped"]) == 412
