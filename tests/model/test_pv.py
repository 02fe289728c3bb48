from __future__ import annotations

from itertools import permutations

import pytest
from tests.model.harness import EPT_AD, PAGE, SUPER, WITH_SUPERPAGES, X86, Host, Kind, R, W
from tests.model.invariants import check, pv_list

from eptreplay.model.recorded.codes import Operation

VA = 3 * PAGE


def of_page(host: Host, page: int) -> list[tuple[int, int]]:
    return pv_list(host.st, int(host.st.page[page].pv_last))


def of_block(host: Host, block: int) -> list[tuple[int, int]]:
    return pv_list(host.st, int(host.st.pv_table[block]))


def test_a_new_mapping_stands_last_in_its_page_s_list() -> None:
    host = Host(EPT_AD, X86)
    host.enter(VA, 3, pm=1)
    host.enter(VA, 3, pm=0)
    host.enter(VA + PAGE, 3, pm=1)
    host.enter(VA + 2 * PAGE, 4, pm=0)
    assert of_page(host, 3) == [(1, VA), (0, VA), (1, VA + PAGE)]
    assert of_page(host, 4) == [(0, VA + 2 * PAGE)]
    assert of_page(host, 5) == []


@pytest.mark.parametrize("order", [*permutations(range(4))])
def test_a_mapping_can_leave_the_list_from_any_place(order: tuple[int, ...]) -> None:
    host = Host(EPT_AD)
    places = [VA + k * PAGE for k in range(4)]
    for va in places:
        host.enter(va, 3)
    for k in order:
        host.remove(places[k], 1)
        places[k] = -1
        assert of_page(host, 3) == [(0, va) for va in places if va >= 0]
        check(host.st)
        assert host.flags(3) == ("referenced writeable" if max(places) >= 0 else "referenced")


def test_entries_that_are_free_are_used_again() -> None:
    host = Host(EPT_AD, mappings=4)  # one chunk of 168 entries
    for k in range(10):
        for page in range(4):
            host.enter(host.va(page) + k * SUPER, page)
        host.remove(k * SUPER, 4)
    assert int(host.st.host[0].pc_used) == 2
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_promotion_leaves_one_entry_for_512(kind: Kind) -> None:
    host = Host(kind, EPT_AD)
    host.enter(VA, 3, pm=1)
    host.fill(0, W)
    assert of_block(host, 0) == [(0, 0)]
    assert of_page(host, 3) == [(1, VA)]
    assert [of_page(host, page) for page in (0, 1, 511)] == [[], [], []]
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_demotion_makes_the_mapping_the_last_of_each_of_its_pages(kind: Kind) -> None:
    host = Host(kind, EPT_AD)
    host.fill(0, W)
    host.enter(VA, 3, pm=1)
    host.change_wiring(PAGE, wired=True)
    assert of_block(host, 0) == []
    assert of_page(host, 3) == [(1, VA), (0, VA)]
    assert of_page(host, 511) == [(0, 511 * PAGE)]
    check(host.st)


def test_several_superpages_over_a_block_share_its_list() -> None:
    host = Host(EPT_AD, X86)
    host.alloc(0, 512)
    for pm, va in ((1, 4 * SUPER), (0, 4 * SUPER), (0, 5 * SUPER)):
        host.enter_object(va, 0, 512, pm=pm)
    assert of_block(host, 0) == [(1, 4 * SUPER), (0, 4 * SUPER), (0, 5 * SUPER)]
    host.remove(4 * SUPER, 512, pm=0)
    assert of_block(host, 0) == [(1, 4 * SUPER), (0, 5 * SUPER)]
    check(host.st)


def test_a_page_stays_writeable_until_neither_list_has_a_mapping_of_it() -> None:
    host = Host(EPT_AD)
    host.alloc(0, 512)
    host.enter_object(4 * SUPER, 0, 512)
    host.enter(VA, 3, R)
    host.remove(VA, 1)
    assert host.flags(3) == "referenced writeable"
    host.remove(4 * SUPER, 512)
    assert host.flags(3) == "referenced"
    assert host.page_op(Operation.IS_MAPPED, 3).ret == 0
