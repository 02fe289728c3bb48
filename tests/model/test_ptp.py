from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.model.harness import (
    EPT_AD,
    EPT_EMUL,
    EPT_EMUL_NOSP,
    KINDS,
    NPTEPG,
    PAGE,
    PBASE,
    PTP_BASE,
    SUPER,
    WITH_SUPERPAGES,
    Host,
    Kind,
    R,
    W,
)
from tests.model.invariants import check

from eptreplay.model.recorded.codes import Operation
from eptreplay.model.recorded.operations import init_pmap
from eptreplay.model.state.pte import PTP_BASE as MODEL_PTP_BASE
from eptreplay.model.state.state import Room, new_states, single

if TYPE_CHECKING:
    from collections.abc import Callable

GB = 1 << 30
VA = 3 * PAGE


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_needs_a_table_at_each_level_that_no_other_page_shares(kind: Kind) -> None:
    host = Host(kind)
    assert host.counters()["resident"] == 0
    assert host.tables_in_use() == 1
    # One page, and as many new tables as the distance from the pages before makes.
    for va, tables in [(VA, 3), (VA + PAGE, 0), (SUPER, 1), (GB, 2), (512 * GB, 3), (512 * GB + SUPER, 1)]:
        assert host.enter(va, 3).changed == {"resident": 1 + tables}
    assert host.tables_in_use() == 1 + 10
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_superpage_counts_512_and_the_table_kept_for_it_one(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(0, 1024)
    assert host.enter_object(0, 0, 512).changed == {"resident": 512 + 2, "mappings": 1}
    assert host.fill(1, R).changed["resident"] == 512 + 1
    check(host.st)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_above_the_leaf_have_every_right_and_count_as_used(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, R, R)
    pmap = host.st.pmap[0]
    rights = sum(int(pmap[name]) for name in ("PG_V", "PG_RW", "PG_A", "PG_M")) | 4
    for level in (2, 3, 4):
        entry = int(host.st.pt[host.slot(VA, level)])
        assert entry & 0xFFF0_0000_0000_0FFF == rights


def empty_by(name: str) -> Callable[[Host], object]:
    return {
        "remove": lambda host: host.remove(VA, 1),
        "remove a range": lambda host: host.remove(0, 512),
        "remove all": lambda host: host.page_op(Operation.REMOVE_ALL, 3),
        "free the page": lambda host: host.page_op(Operation.PAGE_FREE, 3),
        "age": lambda host: host.ts_referenced(3),
        "end the process": lambda host: host.run(Operation.REMOVE_PAGES, 0),
    }[name]


@pytest.mark.parametrize(
    "name", ["remove", "remove a range", "remove all", "free the page", "age", "end the process"]
)
def test_tables_go_with_their_last_entry(name: str) -> None:
    host = Host(EPT_EMUL_NOSP)
    host.enter(VA, 3)
    host.enter(GB, 4)
    assert host.tables_in_use() == 6
    empty_by(name)(host)
    if name == "end the process":
        assert host.counters()["resident"] == 0
        assert host.tables_in_use() == 1
    else:
        # The directory and the table of page 3; page 4 keeps the one above them.
        assert host.counters()["resident"] == 4
        assert host.tables_in_use() == 4
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_tables_of_a_superpage_go_with_it(kind: Kind) -> None:
    host = Host(kind)
    host.fill(0, W)
    host.remove(0, 512)
    assert host.counters()["resident"] == 0
    assert host.tables_in_use() == 1
    check(host.st)


def test_a_table_kept_for_a_superpage_is_empty_when_it_is_used_again() -> None:
    host = Host(EPT_EMUL)
    host.fill(0, W)
    host.remove(0, 512)
    host.enter(GB + VA, 3)
    host.enter(GB + SUPER, 4)
    host.enter(GB + 2 * SUPER, 5)
    assert host.tables_in_use() == 6
    check(host.st)


def test_freed_tables_are_used_again() -> None:
    host = Host(EPT_AD, tables=5)
    for k in range(20):
        host.enter(k * GB, 3)
        host.remove(k * GB, 1)
    assert int(host.st.host[0].ptp_used) == 5
    check(host.st)


def test_tables_stand_where_no_data_page_can_be() -> None:
    assert int(MODEL_PTP_BASE) == PTP_BASE > PBASE + (1 << 48)


@pytest.mark.parametrize(
    ("mappings", "tables", "pages", "exhausted"),
    [(1, 4, 168, 0), (1, 4, 169, 1), (168, 4, 336, 0), (168, 4, 337, 1), (8, 3, 8, 1), (8, 3, 0, 0)],
)
def test_a_pool_that_is_too_small_is_said_to_be(
    mappings: int, tables: int, pages: int, exhausted: int
) -> None:
    states = new_states(
        1, Room(pmaps=1, pages=NPTEPG, mappings=mappings, tables=tables), Host().st.fast_path, PBASE
    )
    host = Host(EPT_AD, regions=1)
    host.st = single(states)
    init_pmap(host.st, 0, EPT_AD.pm_type, EPT_AD.pm_flags, 0)
    host.pages = NPTEPG
    if exhausted:
        with pytest.raises(AssertionError):
            host.enter_run(0, 0, pages)
    else:
        host.enter_run(0, 0, pages)
    assert int(host.st.host[0].exhausted) == exhausted
