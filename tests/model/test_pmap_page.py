from __future__ import annotations

import pytest
from tests.model.harness import (
    ALL,
    EMULATED_KINDS,
    EPT_AD,
    EPT_AD_NOSP,
    EPT_EMUL,
    EPT_EMUL_NOSP,
    EPT_EMUL_XO,
    HARDWARE_KINDS,
    KINDS,
    NPTEPG,
    PAGE,
    RX,
    SUPER,
    WITH_SUPERPAGES,
    X86,
    Host,
    Kind,
    R,
    W,
)
from tests.model.invariants import check, pv_list

from eptreplay.model.recorded.codes import Operation

BLOCK = 512  # first page of region 1
VA = 3 * PAGE
HARDWARE_SUPERPAGES = (EPT_AD, X86)
WITHOUT_EXEC_ONLY = (EPT_EMUL, EPT_EMUL_NOSP)


def once(kind: Kind, times: int = 1) -> dict[str, int]:
    """Return what invalidations of a page add."""
    return {"inv_page": times} if kind is X86 else {"inv_page": times, "eptgen": times}


# ---- pmap_remove_all -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("access", "flags"), [(R, "referenced"), (W, "dirty referenced")])
def test_removing_a_page_removes_each_mapping_and_invalidates_for_each(
    kind: Kind, access: int, flags: str
) -> None:
    host = Host(kind)
    for va in (VA, VA + PAGE, SUPER):
        host.enter(va, 3, access)
    changed = host.page_op(Operation.REMOVE_ALL, 3).changed
    dirtied = {"dirty_calls": 3} if access == W else {}
    assert changed == {"resident": -3 - 4} | once(kind, 3) | dirtied
    assert host.flags(3) == flags
    assert host.page_op(Operation.IS_MAPPED, 3).ret == 0
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_removing_a_page_of_a_superpage_demotes_it(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, R)
    changed = host.page_op(Operation.REMOVE_ALL, BLOCK + 5).changed
    assert changed == {"demotions": 1, "resident": -1} | once(kind)
    assert host.leaves(1) == {"4K A": 511, "none": 1}
    assert host.flags(BLOCK + 5) == "referenced"
    assert host.flags(BLOCK + 6) == "writeable"
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_removing_a_page_of_an_unused_superpage_removes_all_of_it(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.enter_object(SUPER, BLOCK, 512)
    assert host.page_op(Operation.REMOVE_ALL, BLOCK + 5).changed == {"resident": -514} | once(kind)
    assert host.leaves(1) == {"none": 512}
    assert host.tables_in_use() == 1
    check(host.st)


def test_removing_a_page_clears_writeable_even_if_it_was_not_mapped() -> None:
    host = Host(EPT_AD)
    host.alloc(3)
    host.st.page[3].aflags = 1
    assert host.page_op(Operation.REMOVE_ALL, 3) == (0, {})
    assert host.flags(3) == ""


def test_removing_a_page_removes_it_from_every_pmap() -> None:
    host = Host(EPT_EMUL, X86)
    host.fill(0, W, pm=0)
    host.enter(VA, 3, W, pm=1)
    changed = host.page_op(Operation.REMOVE_ALL, 3).changed
    assert changed == {
        "demotions": 1, "resident": -1, "resident1": -4, "inv_page": 2, "eptgen": 1, "dirty_calls": 2,
    }  # fmt: skip
    check(host.st)


@pytest.mark.parametrize("kind", KINDS)
def test_freeing_a_page_removes_it_and_forgets_all_it_knew(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    assert int(host.st.reserv[0]) == 1
    changed = host.page_op(Operation.PAGE_FREE, 3).changed
    assert changed == {"resident": -4, "dirty_calls": 1} | once(kind)
    assert (host.flags(3), int(host.st.page[3].allocated), int(host.st.reserv[0])) == ("", 0, 0)
    host.page_op(Operation.PAGE_FREE, 3)
    assert int(host.st.reserv[0]) == 0
    host.alloc(3, 2)
    host.alloc(3, 2)
    assert int(host.st.reserv[0]) == 2


# ---- pmap_remove_write ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("access", "dirtied"), [(R, 0), (W, 1)])
def test_taking_the_right_to_write_invalidates_even_where_nothing_was_written(
    kind: Kind, access: int, dirtied: int
) -> None:
    host = Host(kind)
    host.enter(VA, 3, access, wired=True)
    changed = host.page_op(Operation.REMOVE_WRITE, 3).changed
    assert changed == once(kind) | ({"dirty_calls": 1} if dirtied else {})
    assert host.leaf(VA) == "4K A W"
    assert host.flags(3) == ("dirty" if dirtied else "")
    # It is not writeable any more, so nobody looks.
    assert host.page_op(Operation.REMOVE_WRITE, 3) == (0, {})


@pytest.mark.parametrize("kind", KINDS)
def test_taking_the_right_to_write_passes_over_read_only_mappings(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, R, RX)
    host.enter(VA + PAGE, 3, R)
    assert host.page_op(Operation.REMOVE_WRITE, 3).changed == once(kind)
    assert host.leaf(VA) == host.leaf(VA + PAGE) == "4K A"


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_taking_the_right_to_write_demotes_a_writable_superpage(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, W)
    changed = host.page_op(Operation.REMOVE_WRITE, BLOCK + 5).changed
    assert changed == {"demotions": 1, "dirty_calls": 1} | once(kind)
    assert host.leaves(1) == {"4K RW A M": 511, "4K A": 1}
    assert host.flags(BLOCK + 5) == "dirty"
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_taking_the_right_to_write_leaves_a_read_only_superpage(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, R)
    assert host.flags(BLOCK + 5) == "writeable"
    assert host.page_op(Operation.REMOVE_WRITE, BLOCK + 5) == (0, {})
    assert host.leaf(SUPER) == "2M A"
    assert host.flags(BLOCK + 5) == ""


# ---- pmap_clear_modify ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_clearing_modified_on_small_pages_leaves_them_writable_and_dirties_nothing(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W, wired=True)
    host.enter(VA + PAGE, 3, W)
    host.enter(VA + 2 * PAGE, 3, R)
    assert host.page_op(Operation.CLEAR_MODIFY, 3).changed == once(kind, 2)
    assert [host.leaf(VA + k * PAGE) for k in range(3)] == ["4K RW A W", "4K RW A", "4K RW A"]
    assert host.flags(3) == "writeable"
    assert host.page_op(Operation.CLEAR_MODIFY, 3) == (0, {})


@pytest.mark.parametrize("kind", KINDS)
def test_clearing_modified_does_nothing_to_a_page_that_is_not_writeable(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    host.st.page[3].aflags = 0
    assert host.page_op(Operation.CLEAR_MODIFY, 3) == (0, {})
    assert host.leaf(VA) == "4K RW A M"


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_clearing_modified_on_a_superpage_write_protects_the_one_page_and_dirties_it(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, W)
    changed = host.page_op(Operation.CLEAR_MODIFY, BLOCK + 5).changed
    assert changed == {"demotions": 1, "dirty_calls": 1} | once(kind)
    assert host.leaf(host.va(BLOCK + 5)) == "4K A"
    assert host.leaves(1) == {"4K RW A M": 511, "4K A": 1}
    assert host.flags(BLOCK + 5) == "dirty writeable"
    # The next write promotes again.
    assert host.access_fault(host.va(BLOCK + 5), W).changed == {"traps": 1, "promotions": 1}
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_clearing_modified_on_a_wired_superpage_clears_the_one_page_like_a_small_one(kind: Kind) -> None:
    host = Host(kind)
    host.enter_run(SUPER, BLOCK, 512, W, wired=True)
    assert host.page_op(Operation.CLEAR_MODIFY, BLOCK + 5).changed == {"demotions": 1} | once(kind)
    assert host.leaf(host.va(BLOCK + 5)) == "4K RW A W"
    assert host.flags(BLOCK + 5) == "writeable"


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_clearing_modified_leaves_a_read_only_superpage(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, R)
    assert host.page_op(Operation.CLEAR_MODIFY, BLOCK + 5) == (0, {})
    assert host.leaf(SUPER) == "2M A"


# ---- pmap_ts_referenced, 4 KB --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HARDWARE_KINDS)
def test_aging_clears_the_accessed_bit_that_hardware_sets(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    assert host.ts_referenced(3) == (1, once(kind))
    assert host.leaf(VA) == "4K RW M"
    assert host.ts_referenced(3) == (0, {})
    host.access(VA, R)
    assert host.ts_referenced(3).ret == 1


@pytest.mark.parametrize("kind", HARDWARE_KINDS)
def test_aging_clears_the_accessed_bit_of_a_wired_page_too(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W, wired=True)
    assert host.ts_referenced(3) == (1, once(kind))
    assert host.leaf(VA) == "4K RW M W"


@pytest.mark.parametrize("kind", WITHOUT_EXEC_ONLY)
@pytest.mark.parametrize(("access", "flags"), [(R, "referenced"), (W, "dirty referenced")])
def test_aging_removes_a_used_page_where_an_execute_only_entry_is_not_allowed(
    kind: Kind, access: int, flags: str
) -> None:
    host = Host(kind)
    host.enter(VA, 3, access)
    dirtied = {"dirty_calls": 1} if access == W else {}
    assert host.ts_referenced(3) == (1, {"resident": -4} | once(kind) | dirtied)
    assert host.leaf(VA) == "none"
    assert host.flags(3) == flags
    check(host.st)


def test_aging_makes_a_clean_page_execute_only_where_that_is_allowed() -> None:
    host = Host(EPT_EMUL_XO)
    host.enter(VA, 3, R)
    assert host.ts_referenced(3) == (1, once(EPT_EMUL_XO))
    assert host.leaf(VA) == "4K RW"
    assert host.find(VA).raw & 7 == 0b100


def test_aging_removes_a_written_page_even_where_execute_only_entries_are_allowed() -> None:
    host = Host(EPT_EMUL_XO)
    host.enter(VA, 3, W)
    assert host.ts_referenced(3) == (1, {"resident": -4, "dirty_calls": 1} | once(EPT_EMUL_XO))
    assert host.leaf(VA) == "none"


@pytest.mark.parametrize("kind", EMULATED_KINDS)
@pytest.mark.parametrize("access", [R, W])
def test_aging_only_counts_a_wired_page_whose_accessed_bit_cannot_be_cleared(kind: Kind, access: int) -> None:
    host = Host(kind)
    host.enter(VA, 3, access, wired=True)
    if kind is EPT_EMUL_XO and access == R:
        assert host.ts_referenced(3) == (1, once(kind))
        assert host.leaf(VA) == "4K RW W"
        assert host.ts_referenced(3) == (0, {})
    else:
        before = host.leaf(VA)
        assert host.ts_referenced(3) == (1, {})
        assert host.ts_referenced(3) == (1, {})
        assert host.leaf(VA) == before


@pytest.mark.parametrize("kind", KINDS)
def test_aging_an_unused_page_counts_nothing(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(3)
    host.enter_quick(VA, 3)
    assert host.ts_referenced(3) == (0, {})
    assert host.ts_referenced(4) == (0, {})


def test_aging_stops_after_five_and_goes_on_from_there_the_next_time() -> None:
    host = Host(EPT_AD_NOSP)
    places = [VA + k * PAGE for k in range(7)]
    for va in places:
        host.enter(va, 3, R)
    assert host.ts_referenced(3) == (5, once(EPT_AD_NOSP, 5))
    assert [host.leaf(va) for va in places] == ["4K RW"] * 5 + ["4K RW A"] * 2
    # What was visited stands at the end of the list now.
    order = [(0, va) for va in places[5:] + places[:5]]
    assert pv_list(host.st, int(host.st.page[3].pv_last)) == order
    for va in places:
        host.access(va, R)
    assert host.ts_referenced(3).ret == 5
    assert [host.leaf(va) for va in places] == ["4K RW"] * 3 + ["4K RW A"] * 2 + ["4K RW"] * 2


def test_aging_visits_each_mapping_once_when_there_are_few() -> None:
    host = Host(EPT_AD_NOSP)
    places = [VA + k * PAGE for k in range(3)]
    for va in places:
        host.enter(va, 3, R)
    host.alloc(4)
    assert host.ts_referenced(3) == (3, once(EPT_AD_NOSP, 3))
    # A whole round leaves the order as it was.
    assert pv_list(host.st, int(host.st.page[3].pv_last)) == [(0, va) for va in places]
    assert host.ts_referenced(3) == (0, {})


def test_aging_that_removes_mappings_still_visits_each_once() -> None:
    host = Host(EPT_EMUL_NOSP, EPT_AD_NOSP)
    for k in range(2):
        host.enter(VA + k * PAGE, 3, R, pm=0)
        host.enter(VA + k * PAGE, 3, R, pm=1)
    outcome = host.ts_referenced(3)
    assert outcome.ret == 4
    assert [host.leaf(VA + k * PAGE, pm) for pm in (0, 1) for k in (0, 1)] == ["none"] * 2 + ["4K RW"] * 2
    assert (outcome.changed["eptgen"], outcome.changed["eptgen1"]) == (2, 2)
    check(host.st)


# ---- pmap_ts_referenced, 2 MB --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HARDWARE_SUPERPAGES)
@pytest.mark.parametrize("pm_address", [0, 37, 511])
@pytest.mark.parametrize("region", [0, 1, 3])
def test_one_page_of_512_may_clear_the_accessed_bit_of_a_superpage(
    kind: Kind, pm_address: int, region: int
) -> None:
    host = Host(kind, regions=4, hashes=(pm_address,))
    host.fill(region, W)
    cleared = []
    for page in range(region * 512, (region + 1) * 512):
        outcome = host.ts_referenced(page)
        assert outcome.ret == 1
        if outcome.changed:
            assert outcome.changed == once(kind)
            assert host.leaf(host.va(page)) == "2M RW M"
            cleared.append(page % 512)
            host.access(host.va(page), R)
    # Page number, superpage number and the pmap's address, by exclusive or.
    assert cleared == [region ^ pm_address]


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_aging_only_counts_a_wired_superpage(kind: Kind) -> None:
    host = Host(kind)
    host.enter_run(0, 0, 512, R, wired=True)
    assert host.leaf(0) == "2M A W"
    for page in range(512):
        assert host.ts_referenced(page) == (1, {})


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_aging_an_unused_superpage_counts_nothing(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(0, 512)
    host.enter_object(0, 0, 512)
    for page in range(512):
        assert host.ts_referenced(page) == (0, {})


@pytest.mark.parametrize(("kind", "access"), [(EPT_EMUL, R), (EPT_EMUL, W), (EPT_EMUL_XO, W)])
def test_aging_demotes_a_superpage_whose_accessed_bit_cannot_be_cleared_and_removes_the_page(
    kind: Kind, access: int
) -> None:
    host = Host(kind)
    host.fill(0, access)
    assert host.ts_referenced(1) == (1, {})  # not the page that may
    dirtied = {"dirty_calls": 1} if access == W else {}
    # The demotion itself invalidates nothing.
    assert host.ts_referenced(0) == (1, {"demotions": 1, "resident": -1} | once(kind) | dirtied)
    assert host.leaves(0) == {"none": 1, "4K RW A M" if access == W else "4K A": 511}
    assert host.flags(0) == ("dirty referenced" if access == W else "referenced")
    check(host.st)


def test_aging_makes_a_clean_superpage_execute_only_where_that_is_allowed() -> None:
    host = Host(EPT_EMUL_XO)
    host.fill(0, R)
    assert host.ts_referenced(0) == (1, once(EPT_EMUL_XO))
    assert host.leaf(0) == "2M"
    assert host.find(0).raw & 7 == 0b100


def test_aging_counts_superpages_first_and_may_return_before_it_looks_at_small_pages() -> None:
    host = Host(EPT_AD)
    host.alloc(0, 512)
    places = [SUPER * k for k in range(4, 11)]
    for va in places:
        host.enter_object(va, 0, 512)
        host.access(va, R)
    host.enter(VA, 3, R)
    # Page 3 is the page of none of these superpages that may clear the bit.
    assert host.ts_referenced(3) == (5, {})
    assert host.leaf(VA) == "4K RW A"
    order = [(0, va) for va in places[5:] + places[:5]]
    assert pv_list(host.st, int(host.st.pv_table[0])) == order
    for va in places[3:]:
        host.remove(va, 512)
    assert host.ts_referenced(3) == (4, once(EPT_AD))
    assert host.leaf(VA) == "4K RW"


def test_aging_a_run_asks_only_pages_that_are_allocated() -> None:
    host = Host(EPT_AD)
    for page in (3, 5):
        host.enter(host.va(page), page)
    assert host.run(Operation.TS_RUN, page=0, n=512) == (2, once(EPT_AD, 2))


# ---- asking --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_what_small_pages_and_superpages_say_of_a_page(kind: Kind) -> None:
    host = Host(kind)
    asked = (
        Operation.IS_MAPPED, Operation.IS_REFERENCED, Operation.IS_MODIFIED, Operation.WIRED_MAPPINGS,
    )  # fmt: skip

    def answers(page: int) -> list[int]:
        outcomes = [host.page_op(op, page) for op in asked]
        assert all(not outcome.changed for outcome in outcomes)
        return [outcome.ret for outcome in outcomes]

    host.alloc(0, 1024)
    assert answers(3) == [0, 0, 0, 0]
    host.enter_quick(VA, 3)
    assert answers(3) == [1, 0, 0, 0]
    host.enter(VA, 3, R, wired=True)
    assert answers(3) == [1, 1, 0, 1]
    host.enter(VA + PAGE, 3, W, wired=True)
    assert answers(3) == [1, 1, 1, 2]
    host.enter_object(SUPER, BLOCK, 512)
    assert answers(BLOCK + 3) == [1, 0, 0, 0]
    host.access(SUPER, R)
    assert answers(BLOCK + 3) == [1, 1, 0, 0]
    host.fill(1, W)
    assert host.leaf(SUPER) == "2M RW A M"
    assert answers(BLOCK + 3) == [1, 1, 1, 0]
    host.remove(SUPER, 512)
    host.enter_run(SUPER, BLOCK, 512, W, wired=True)
    host.enter(3 * SUPER, BLOCK + 3, R, wired=True)
    assert answers(BLOCK + 3) == [1, 1, 1, 2]


def test_unmanaged_pages_are_mapped_nowhere_as_far_as_anyone_knows() -> None:
    host = Host(EPT_AD, devices=1)
    host.enter(VA, BLOCK, W, wired=True)
    for op in (Operation.IS_MAPPED, Operation.IS_MODIFIED, Operation.WIRED_MAPPINGS):
        assert host.page_op(op, BLOCK) == (0, {})


@pytest.mark.parametrize(("before", "found"), [(15, 1), (16, 0)])
def test_a_pmap_is_looked_for_among_the_first_16_mappings_of_a_page(before: int, found: int) -> None:
    host = Host(EPT_AD, EPT_AD)
    for k in range(before):
        host.enter(VA + k * PAGE, 3, pm=0)
    host.enter(VA, 3, pm=1)
    assert host.run(Operation.EXISTS_QUICK, 1, page=3).ret == found
    assert host.run(Operation.EXISTS_QUICK, 0, page=3).ret == 1
    assert host.run(Operation.EXISTS_QUICK, 0, page=4).ret == 0


@pytest.mark.parametrize(("before", "found"), [(15, 1), (16, 0)])
def test_superpages_come_after_small_pages_among_those_16(before: int, found: int) -> None:
    host = Host(EPT_AD, EPT_AD)
    host.alloc(BLOCK, NPTEPG)
    host.enter_object(8 * SUPER, BLOCK, NPTEPG, ALL, pm=1)
    for k in range(before):
        host.enter(VA + k * PAGE, BLOCK + 3, pm=0)
    assert host.run(Operation.EXISTS_QUICK, 1, page=BLOCK + 3).ret == found
