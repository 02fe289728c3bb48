from __future__ import annotations

import pytest
from tests.model.harness import (
    EMULATED,
    EPT_AD,
    EPT_AD_NOSP,
    EPT_EMUL,
    FAULTED,
    HIT,
    PAGE,
    REFUSED,
    SUPER,
    X86,
    Host,
    R,
    W,
)

from eptreplay.model._numba.arrays import records
from eptreplay.model.recorded.codes import ARGUMENTS, NO_PAGE, Operation
from eptreplay.model.state.address_space import _NPCPV


def counts(ret: int) -> tuple[int, int, int, int]:
    return ret & 0xFFFF, ret >> 16 & 0xFFFF, ret >> 32 & 0xFFFF, ret >> 48 & 0xFFFF


def test_an_access_answers_how_it_came_out() -> None:
    host = Host(EPT_EMUL)
    va = host.va(3)
    assert host.access_fault(va, R).ret == FAULTED
    assert host.access_fault(va, R).ret == HIT
    assert host.access_fault(va, W).ret == EMULATED
    assert host.access_fault(9 * SUPER, R).ret == REFUSED


def test_a_run_of_accesses_packs_the_outcomes() -> None:
    host = Host(EPT_EMUL)
    host.alloc(512, 512)
    for page in range(1000, 1006):
        host.enter_quick(host.va(page), page)
    host.enter_run(host.va(1006), 1006, 8, R)
    # 10 faulted in, 6 marked, 8 hit, 10 faulted in, 30 of no region.
    outcome = host.pmap_op(Operation.ACCESS_RUN, host.va(990), n=64, access=R)
    assert counts(outcome.ret) == (8, 6, 30, 20)
    assert outcome.changed["traps"] == 6 + 30 + 20


def test_a_run_by_a_stride_visits_every_page_once() -> None:
    host = Host(EPT_AD)
    host.alloc(0, 512)
    outcome = host.pmap_op(Operation.ACCESS_PERM_RUN, 0, n=512, access=W, arg=7)
    assert counts(outcome.ret) == (0, 0, 0, 512)
    assert host.leaves(0) == {"2M RW A M": 512}
    assert host.pmap_op(Operation.ACCESS_PERM_RUN, 0, n=512, access=R, arg=511).ret == 512


def test_a_run_by_a_stride_goes_in_that_order() -> None:
    host = Host(EPT_AD_NOSP)
    host.pmap_op(Operation.ACCESS_PERM_RUN, 0, n=512, access=R, arg=5)
    # Mappings are made in the order of the accesses, and each takes the next free pv entry of the first chunk.
    first = [int(host.st.page[page].pv_last) - _NPCPV for page in (0, 5, 10, 510, 3)]
    assert first == [0, 1, 2, 102, 103]


@pytest.mark.parametrize(("pages", "traps"), [(3, 3), (255, 255), (256, 255), (512, 255)])
def test_traps_of_one_operation_are_recorded_up_to_255(pages: int, traps: int) -> None:
    host = Host(EPT_AD)
    given = records(1, ARGUMENTS)
    given.op, given.pm, given.page = Operation.ACCESS_RUN, 0, NO_PAGE
    given.n, given.access = pages, W
    assert int(host.run_many(given)[0].traps) == traps
    assert host.counters()["traps"] == pages


def test_an_operation_on_a_page_reports_its_flags_and_one_on_a_pmap_its_leaf() -> None:
    host = Host(EPT_AD, X86)
    given = records(4, ARGUMENTS)
    given.op = [Operation.ENTER, Operation.MINCORE, Operation.UNDIRTY, Operation.SET_ACTIVE]
    given.pm = [1, 1, 255, 1]
    given.page = [3, NO_PAGE, 3, NO_PAGE]
    given.va = [5 * PAGE, 6 * PAGE, 5 * PAGE, 5 * PAGE]
    given.access, given.prot = W, 7
    results = host.run_many(given)
    assert results.leaf_level.tolist() == [1, 0, 0, 0]
    assert int(results.leaf[0]) == host.find(5 * PAGE, 1).raw
    assert results.pg_writeable.tolist() == [1, -1, 1, -1]
    assert results.pg_dirty.tolist() == results.pg_ref.tolist() == [0, -1, 0, -1]
    assert results.resident1.tolist() == [4] * 4


def test_a_second_pmap_that_is_not_there_reports_zero() -> None:
    host = Host(EPT_AD)
    host.enter(0, 3)
    given = records(1, ARGUMENTS)
    given.op, given.pm, given.page, given.eva = Operation.REMOVE, 0, NO_PAGE, PAGE
    result = host.run_many(given)[0]
    assert (int(result.eptgen0), int(result.eptgen1)) == (1, 0)
    assert (int(result.resident1), int(result.wired1)) == (0, 0)


def test_a_checksum_is_computed_only_where_it_is_asked_for() -> None:
    host = Host(EPT_AD)
    given = records(2, ARGUMENTS)
    given.op, given.pm, given.page, given.access = Operation.ACCESS_FAULT, 0, NO_PAGE, R
    given.want_sum = [0, 1]
    sums = host.run_many(given).state_sum.tolist()
    assert sums[0] == 0 != sums[1]


def test_undirty_clears_the_dirty_field_and_nothing_else() -> None:
    host = Host(EPT_AD)
    host.enter(0, 3, W)
    host.enter(0, 4, W)
    assert host.flags(3) == "dirty referenced"
    assert host.page_op(Operation.UNDIRTY, 3) == (0, {})
    assert host.flags(3) == "referenced"
