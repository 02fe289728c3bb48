from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.model.dictionary import Dictionary
from tests.model.harness import (
    ALL,
    EPT_AD,
    EPT_EMUL,
    EPT_EMUL_XO,
    FAULTED,
    HIT,
    KINDS,
    NPTEPG,
    PAGE,
    REFUSED,
    RW,
    RX,
    WITH_SUPERPAGES,
    X86,
    Host,
    Kind,
    R,
    W,
    X,
)
from tests.model.invariants import check

from eptreplay.model._numba.arrays import records
from eptreplay.model.recorded.codes import ARGUMENTS, NO_PAGE, Operation
from eptreplay.model.state.fast_path import NO_OP_SHIFT

REGIONS: Final = 2
PAGES: Final = REGIONS * NPTEPG
# Few pages, so that operations meet; 36 may clear the accessed bit of a superpage when the hash is 36.
PAGE_NUMBERS = st.sampled_from([0, 1, 5, 36, 511, 512, 517, 549, 1023])
ACCESSES = st.sampled_from([R, W, X])
RIGHTS = st.sampled_from([ALL, RX, RW, R])
PMAPS = st.integers(0, 1)
ADVICE = st.sampled_from([4, 5])


class Range(NamedTuple):
    """Pages [begin, begin + n) of all regions, counted through."""

    begin: int
    n: int


RANGES = st.one_of(
    st.sampled_from([Range(0, NPTEPG), Range(NPTEPG, NPTEPG), Range(0, PAGES), Range(500, 24)]),
    st.builds(Range, PAGE_NUMBERS, st.sampled_from([1, 2, 511])),
)


class HostMachine(RuleBasedStateMachine):
    """Random operations on a host, done to a dictionary as well; after each, both must agree and all must hold."""

    host: Host
    model: Dictionary

    @initialize(
        kinds=st.one_of(
            st.sampled_from([(EPT_AD,), (EPT_EMUL,), (EPT_EMUL_XO,), (X86,)]),
            st.tuples(st.sampled_from(KINDS), st.sampled_from(WITH_SUPERPAGES)),
        ),
        hashes=st.tuples(st.sampled_from([0, 36]), st.sampled_from([0, 4])),
        misaligned=st.sampled_from([0, 0, 0, PAGE]),
    )
    def begin(self, kinds: tuple[Kind, ...], hashes: tuple[int, ...], misaligned: int) -> None:
        self.host = Host(*kinds, regions=REGIONS, hashes=hashes, misaligned=misaligned, fast_path=True)
        if misaligned and len(kinds) == 1:
            self.host.st.pmap[0].pm_fast_path_pages = 0
        self.model = Dictionary(self.host, hashes)
        self.generations = [0] * len(kinds)

    def pm(self, number: int) -> int:
        return number % len(self.host.kinds)

    def at(self, pm: int, page: int) -> int:
        """Return the page number of the address at which a page is at home."""
        return self.host.va(page, pm) // PAGE

    # ---- entering ----------------------------------------------------------------------------------------

    @rule(pm=PMAPS, page=PAGE_NUMBERS, other=st.booleans(), access=ACCESSES, prot=RIGHTS, wired=st.booleans())
    def enter(self, pm: int, page: int, access: int, prot: int, *, other: bool, wired: bool) -> None:
        pm = self.pm(pm)
        at = self.at(pm, page)
        entered = (page + NPTEPG) % PAGES if other else page
        self.host.enter(at * PAGE, entered, access, prot, wired=wired, pm=pm)
        self.model.enter(pm, at, entered, access, prot, wired=wired)

    @rule(pm=PMAPS, where=RANGES, access=ACCESSES, prot=RIGHTS, wired=st.booleans())
    def enter_run(self, pm: int, where: Range, access: int, prot: int, *, wired: bool) -> None:
        pm = self.pm(pm)
        n = min(where.n, NPTEPG - where.begin % NPTEPG)
        at = self.at(pm, where.begin)
        self.host.enter_run(at * PAGE, where.begin, n, access, prot, wired=wired, pm=pm)
        for k in range(n):
            self.model.enter(pm, at + k, where.begin + k, access, prot, wired=wired)

    @rule(pm=PMAPS, page=PAGE_NUMBERS, prot=RIGHTS)
    def enter_quick(self, pm: int, page: int, prot: int) -> None:
        pm = self.pm(pm)
        at = self.at(pm, page)
        self.allocate(page)
        self.host.enter_quick(at * PAGE, page, prot, pm=pm)
        self.model.enter_quick(pm, at, page, prot)

    @rule(pm=PMAPS, where=RANGES, prot=RIGHTS)
    def enter_object(self, pm: int, where: Range, prot: int) -> None:
        pm = self.pm(pm)
        at = self.at(pm, where.begin)
        self.allocate(where.begin)
        n = min(where.n, PAGES - where.begin)
        self.host.enter_object(at * PAGE, where.begin, n, prot, pm=pm)
        self.model.enter_object(pm, at, where.begin, n, prot)

    @rule(region=st.integers(0, REGIONS - 1))
    def fill_reservation(self, region: int) -> None:
        self.allocate(region * NPTEPG, NPTEPG)

    def allocate(self, page: int, n: int = 1) -> None:
        self.host.alloc(page, n)
        for k in range(n):
            self.model.alloc(page + k)

    # ---- accesses ----------------------------------------------------------------------------------------

    @rule(pm=PMAPS, page=PAGE_NUMBERS, access=ACCESSES)
    def access(self, pm: int, page: int, access: int) -> None:
        pm = self.pm(pm)
        at = self.at(pm, page)
        outcome = self.model.access(pm, at, access)
        assert self.host.access_fault(at * PAGE, access, pm=pm).ret == outcome
        if pm == 0 and self.host.st.pmap[0].pm_fast_path_pages:
            assert outcome in (HIT, 1, FAULTED)
            self.host.st.fast_path[at] |= access << NO_OP_SHIFT

    @rule(
        pm=PMAPS,
        region=st.integers(0, REGIONS - 1),
        access=ACCESSES,
        n=st.sampled_from([NPTEPG, NPTEPG, 511]),
    )
    def access_run(self, pm: int, region: int, access: int, n: int) -> None:
        pm = self.pm(pm)
        at = self.at(pm, region * NPTEPG)
        outcomes = [self.model.access(pm, at + k, access) for k in range(n)]
        counts = [outcomes.count(outcome) for outcome in (HIT, 1, REFUSED, FAULTED)]
        ret = sum(count << 16 * place for place, count in enumerate(counts))
        assert self.host.fill(region, access, pm=pm, n=n).ret == ret
        if pm == 0 and self.host.st.pmap[0].pm_fast_path_pages:
            self.host.st.fast_path[at : at + n] |= access << NO_OP_SHIFT

    # ---- ranges ------------------------------------------------------------------------------------------

    @rule(pm=PMAPS, where=RANGES)
    def remove(self, pm: int, where: Range) -> None:
        pm = self.pm(pm)
        at = self.at(pm, where.begin)
        self.host.remove(at * PAGE, where.n, pm=pm)
        self.model.remove(pm, at, at + where.n)

    @rule(pm=PMAPS, where=RANGES, prot=st.sampled_from([ALL, RX, RW, R, 0]))
    def protect(self, pm: int, where: Range, prot: int) -> None:
        pm = self.pm(pm)
        at = self.at(pm, where.begin)
        self.host.protect(at * PAGE, where.n, prot, pm=pm)
        self.model.protect(pm, at, at + where.n, prot)

    @rule(pm=PMAPS, where=RANGES, advice=ADVICE)
    def advise(self, pm: int, where: Range, advice: int) -> None:
        pm = self.pm(pm)
        at = self.at(pm, where.begin)
        self.host.advise(at * PAGE, where.n, advice, pm=pm)
        self.model.advise(pm, at, at + where.n, advice)

    @rule(pm=PMAPS, page=PAGE_NUMBERS, wired=st.booleans())
    def change_wiring(self, pm: int, page: int, *, wired: bool) -> None:
        pm = self.pm(pm)
        at = self.at(pm, page)
        if self.model.may_change_wiring(pm, at, wired=wired):
            self.host.change_wiring(at * PAGE, wired=wired, pm=pm)
            self.model.change_wiring(pm, at, wired=wired)

    @precondition(lambda self: sum(len(pages) for pages in self.model.maps) > NPTEPG)
    @rule(pm=PMAPS)
    def remove_pages(self, pm: int) -> None:
        pm = self.pm(pm)
        self.host.run(Operation.REMOVE_PAGES, pm)
        self.model.remove_pages(pm)

    # ---- pages -------------------------------------------------------------------------------------------

    @rule(page=PAGE_NUMBERS)
    def remove_all(self, page: int) -> None:
        self.host.page_op(Operation.REMOVE_ALL, page)
        self.model.remove_all(page)

    @rule(page=PAGE_NUMBERS)
    def free(self, page: int) -> None:
        self.host.page_op(Operation.PAGE_FREE, page)
        self.model.free(page)

    @rule(page=PAGE_NUMBERS)
    def remove_write(self, page: int) -> None:
        self.host.page_op(Operation.REMOVE_WRITE, page)
        self.model.remove_write(page)

    @rule(page=PAGE_NUMBERS)
    def clear_modify(self, page: int) -> None:
        self.host.page_op(Operation.CLEAR_MODIFY, page)
        self.model.clear_modify(page)

    @rule(page=PAGE_NUMBERS)
    def ts_referenced(self, page: int) -> None:
        assert self.host.ts_referenced(page).ret == self.model.ts_referenced(page)

    @rule(region=st.integers(0, REGIONS - 1))
    def age(self, region: int) -> None:
        pages = range(region * NPTEPG, (region + 1) * NPTEPG)
        expected = sum(self.model.ts_referenced(page) for page in pages if page in self.model.allocated)
        assert self.host.run(Operation.TS_RUN, page=pages.start, n=NPTEPG).ret == expected

    # ---- what holds --------------------------------------------------------------------------------------

    @invariant()
    def agrees_with_the_dictionary_and_all_holds(self) -> None:
        self.model.compare(self.host, check(self.host.st))

    @invariant()
    def the_generation_never_goes_back(self) -> None:
        now = self.host.st.pmap.pm_eptgen.tolist()
        assert all(after >= before for before, after in zip(self.generations, now, strict=True))
        self.generations = now

    @invariant()
    def an_access_that_is_said_to_change_nothing_changes_nothing(self) -> None:
        assert_fast_path_is_right(self.host)


def assert_fast_path_is_right(host: Host) -> None:
    """Make every access to pmap 0 that `fast_path` says changes nothing: it is a hit, and no entry changes."""
    accesses = [
        (page, access)
        for access in (R, W, X)
        for page in np.flatnonzero(host.st.fast_path & (access << NO_OP_SHIFT))
    ]
    if not accesses:
        return
    given = records(len(accesses), ARGUMENTS)
    given.op, given.page = Operation.ACCESS, NO_PAGE
    given.va = [int(page) * PAGE for page, _ in accesses]
    given.access = [access for _, access in accesses]
    before = host.st.pt.copy()
    results = host.run_many(given)
    assert not results.ret.any()
    assert not results.traps.any()
    assert (host.st.pt == before).all()


HostMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestHost = HostMachine.TestCase
