from __future__ import annotations

import pytest
from tests.model.harness import (
    ALL,
    EMULATED_KINDS,
    EPT_AD,
    EPT_EMUL_NOSP,
    HARDWARE_KINDS,
    KINDS,
    PAGE,
    RW,
    RX,
    SUPER,
    WITH_SUPERPAGES,
    X86,
    Host,
    Kind,
    R,
    W,
)
from tests.model.invariants import check

from eptreplay.model.recorded.codes import Operation

BLOCK = 512  # first page of region 1
VA = 3 * PAGE
DONTNEED = 4
FREE = 5
HARDWARE_SUPERPAGES = (EPT_AD, X86)


def once(kind: Kind, counter: str) -> dict[str, int]:
    """Return what one invalidation adds, as counted by `counter`."""
    return {counter: 1} if kind is X86 else {counter: 1, "eptgen": 1}


# ---- pmap_remove ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_removing_one_small_page_invalidates_that_page(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    host.enter(VA + PAGE, 4, R)
    assert host.remove(VA, 1).changed == {"resident": -1, "dirty_calls": 1} | once(kind, "inv_page")
    assert host.flags(3) == "dirty referenced"
    assert host.leaf(VA) == "none"
    assert host.leaf(VA + PAGE) == "4K RW A"
    check(host.st)


@pytest.mark.parametrize("kind", KINDS)
def test_removing_a_range_invalidates_everything_once(kind: Kind) -> None:
    host = Host(kind)
    for page in (3, 4, 5, 600):
        host.enter(host.va(page), page, R)
    changed = host.remove(host.va(4), 1020).changed
    # Three pages and one of the two page tables.
    assert changed == {"resident": -4} | once(kind, "inv_all")
    assert [host.maps(host.va(page)) for page in (3, 4, 5, 600)] == [3, None, None, None]
    assert [host.flags(page) for page in (3, 4)] == ["writeable", "referenced"]
    check(host.st)


@pytest.mark.parametrize("kind", KINDS)
def test_removing_what_is_not_mapped_invalidates_nothing(kind: Kind) -> None:
    host = Host(kind)
    assert host.remove(0, 1) == (0, {})
    assert host.remove(0, 1 << 20) == (0, {})
    host.enter(VA, 3)
    assert host.remove(VA + PAGE, 1) == (0, {})
    assert host.remove(VA + PAGE, 1000) == (0, {})
    assert host.remove(SUPER, 1) == (0, {})
    assert host.remove(VA, 0) == (0, {})
    assert host.run(Operation.REMOVE, 0, va=VA, eva=0) == (0, {})
    assert host.leaf(VA) == "4K RW A"


@pytest.mark.parametrize("kind", KINDS)
def test_removing_an_unused_page_does_not_mark_it_referenced(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(3)
    host.enter_quick(VA, 3)
    assert host.remove(VA, 1).changed == {"resident": -4} | once(kind, "inv_page")
    assert host.flags(3) == ""


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize(("access", "flags", "dirtied"), [(R, "referenced", 0), (W, "dirty referenced", 512)])
def test_removing_a_whole_superpage_tells_its_pages_without_demotion(
    kind: Kind, access: int, flags: str, dirtied: int
) -> None:
    host = Host(kind)
    host.fill(1, access)
    changed = host.remove(SUPER, 512).changed
    expected = {"resident": -515, "dirty_calls": dirtied} | once(kind, "inv_all")
    assert changed == {name: value for name, value in expected.items() if value}
    assert {host.flags(page) for page in range(BLOCK, 1024)} == {flags}
    assert host.tables_in_use() == 1
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize("pages", [1, 2, 511])
def test_removing_a_part_of_a_superpage_demotes_it(kind: Kind, pages: int) -> None:
    host = Host(kind)
    host.fill(1, R)
    # Even one page: it was no small page when the removal began.
    changed = host.remove(SUPER + PAGE, pages).changed
    assert changed == {"demotions": 1, "resident": -pages} | once(kind, "inv_all")
    assert host.leaves(1) == {"4K A": 512 - pages, "none": pages}
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_removing_a_part_of_an_unused_superpage_removes_all_of_it(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.enter_object(SUPER, BLOCK, 512)
    # The demotion that fails invalidates; nothing is left to remove, so nothing more does.
    assert host.remove(SUPER + PAGE, 5).changed == {"resident": -514} | once(kind, "inv_page")
    assert host.leaves(1) == {"none": 512}
    check(host.st)


@pytest.mark.parametrize("kind", KINDS)
def test_a_removal_passes_over_tables_that_are_missing(kind: Kind) -> None:
    host = Host(kind, tables=64)
    places = (VA, 5 << 30, 3 << 39, (1 << 47) - PAGE)
    for k, va in enumerate(places):
        host.enter(va, k, R)
    # 4 pages, and below each: page table, page directory, page directory pointers (two pages share one).
    assert host.remove(PAGE, (1 << 35) - 1).changed == {"resident": -4 - 4 - 4 - 3} | once(kind, "inv_all")
    assert host.counters()["resident"] == 0


# ---- pmap_protect --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prot", [0, W, 4])
def test_protecting_from_reads_removes(kind: Kind, prot: int) -> None:
    host = Host(kind)
    host.enter(VA, 3, R)
    assert host.protect(VA, 1, prot).changed == {"resident": -4} | once(kind, "inv_page")
    assert host.leaf(VA) == "none"


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_protecting_with_every_right_does_nothing(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    host.fill(1, W)
    assert host.protect(0, 1024, ALL) == (0, {})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("prot", "written", "clean", "dirtied"),
    [(RX, "4K A", "4K A", 1), (R, "4K A NX", "4K A NX", 1), (RW, "4K RW A M NX", "4K RW A NX", 0)],
)
def test_protecting_small_pages_dirties_those_that_were_written_only_if_it_takes_the_right_to_write(
    kind: Kind, prot: int, written: str, clean: str, dirtied: int
) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    host.enter(VA + PAGE, 4, R)
    expected = {"dirty_calls": dirtied} | once(kind, "inv_all")
    assert host.protect(0, 512, prot).changed == {name: value for name, value in expected.items() if value}
    assert (host.leaf(VA), host.leaf(VA + PAGE)) == (written, clean)
    assert host.flags(3) == ("dirty writeable" if dirtied else "writeable")
    assert host.flags(4) == "writeable"
    # Nothing is left to take.
    assert host.protect(0, 512, prot) == (0, {})


@pytest.mark.parametrize("kind", KINDS)
def test_protecting_what_has_no_right_to_lose_does_not_invalidate(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, R, R)
    for prot in (R, RX, RW):
        assert host.protect(0, 512, prot) == (0, {})
    assert host.protect(VA + PAGE, 5, R) == (0, {})
    assert host.protect(1 << 39, 5, R) == (0, {})
    assert host.leaf(VA) == "4K A NX"


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_protecting_a_whole_superpage_changes_it_in_place(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, W)
    changed = host.protect(SUPER, 512, RX).changed
    assert changed == {"dirty_calls": 512} | once(kind, "inv_all")
    assert host.leaves(1) == {"2M A": 512}
    assert {host.flags(page) for page in range(BLOCK, 1024)} == {"dirty writeable"}
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_protecting_a_written_superpage_dirties_its_pages_each_time_whatever_is_taken(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, W)
    assert host.protect(SUPER, 512, RW).changed == {"dirty_calls": 512} | once(kind, "inv_all")
    assert host.leaf(SUPER) == "2M RW A M NX"
    # Nothing changes any more, so nothing is invalidated; the pages are dirtied all the same.
    assert host.protect(SUPER, 512, RW).changed == {"dirty_calls": 512}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_protecting_a_part_of_a_superpage_demotes_it(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, W)
    changed = host.protect(SUPER + PAGE, 511, RX).changed
    assert changed == {"demotions": 1, "dirty_calls": 511} | once(kind, "inv_all")
    assert host.leaves(1) == {"4K RW A M": 1, "4K A": 511}
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_protecting_a_part_of_an_unused_superpage_removes_it(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.enter_object(SUPER, BLOCK, 512)
    assert host.protect(SUPER, 5, R).changed == {"resident": -514} | once(kind, "inv_page")
    assert host.leaves(1) == {"none": 512}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_protecting_several_regions_invalidates_once(kind: Kind) -> None:
    host = Host(kind, regions=3)
    host.fill(0, R)
    host.fill(1, R)
    host.fill(2, R, n=5)
    assert host.protect(0, 3 * 512, R).changed == once(kind, "inv_all")
    assert [host.leaf(host.va(512 * region)) for region in range(3)] == ["2M A NX", "2M A NX", "4K A NX"]


# ---- pmap_advise ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EMULATED_KINDS)
@pytest.mark.parametrize("advice", [DONTNEED, FREE])
def test_advice_does_nothing_where_bits_are_emulated(kind: Kind, advice: int) -> None:
    host = Host(kind)
    host.fill(0, W)
    assert host.advise(0, 512, advice) == (0, {})


@pytest.mark.parametrize("kind", HARDWARE_KINDS)
@pytest.mark.parametrize("advice", [0, 1, 2, 3, 6])
def test_other_advice_does_nothing(kind: Kind, advice: int) -> None:
    host = Host(kind)
    host.fill(0, W)
    assert host.advise(0, 512, advice) == (0, {})


@pytest.mark.parametrize("kind", HARDWARE_KINDS)
@pytest.mark.parametrize(("advice", "dirtied"), [(DONTNEED, 1), (FREE, 0)])
def test_advice_forgets_use_and_writes_and_dirties_unless_the_contents_are_free(
    kind: Kind, advice: int, dirtied: int
) -> None:
    host = Host(kind)
    host.enter(VA, 3, W, wired=True)
    host.enter(VA + PAGE, 4, R)
    host.enter(VA + 2 * PAGE, 5, R)
    expected = {"dirty_calls": dirtied} | once(kind, "inv_all")
    changed = host.advise(VA, 2, advice).changed
    assert changed == {name: value for name, value in expected.items() if value}
    assert [host.leaf(VA + k * PAGE) for k in range(3)] == ["4K RW W", "4K RW", "4K RW A"]
    assert host.advise(VA, 2, advice) == (0, {})


def test_advice_leaves_unmanaged_pages_alone() -> None:
    host = Host(EPT_AD, devices=1)
    host.enter(VA, BLOCK, W)
    host.object_init_pt(2 * SUPER, BLOCK, 512)
    assert host.advise(0, 4 * 512, FREE) == (0, {})


@pytest.mark.parametrize("kind", HARDWARE_SUPERPAGES)
@pytest.mark.parametrize(("advice", "dirtied"), [(DONTNEED, 3), (FREE, 1)])
def test_advice_on_a_superpage_demotes_it_and_removes_the_first_page_of_the_range(
    kind: Kind, advice: int, dirtied: int
) -> None:
    host = Host(kind)
    host.fill(1, W)
    changed = host.advise(host.va(BLOCK + 5), 3, advice).changed
    assert changed == {"demotions": 1, "resident": -1, "dirty_calls": dirtied} | once(kind, "inv_all")
    assert [host.leaf(host.va(BLOCK + k)) for k in (4, 5, 6, 7, 8)] == [
        "4K RW A M", "none", "4K RW", "4K RW", "4K RW A M",
    ]  # fmt: skip
    assert host.flags(BLOCK + 5) == "dirty referenced"
    check(host.st)


@pytest.mark.parametrize("kind", HARDWARE_SUPERPAGES)
def test_advice_on_a_wired_superpage_removes_nothing(kind: Kind) -> None:
    host = Host(kind)
    host.enter_run(SUPER, BLOCK, 512, W, wired=True)
    changed = host.advise(host.va(BLOCK + 5), 1, FREE).changed
    assert changed == {"demotions": 1} | once(kind, "inv_all")
    assert host.leaves(1) == {"4K RW A M W": 511, "4K RW W": 1}


# ---- pmap_change_wiring --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_wiring_never_invalidates(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    assert host.change_wiring(VA, wired=True) == (0, {"wired": 1})
    assert host.leaf(VA) == "4K RW A M W"
    assert host.change_wiring(VA, wired=True) == (0, {})
    assert host.change_wiring(VA, wired=False) == (0, {"wired": -1})
    assert host.leaf(VA) == "4K RW A M"
    assert host.change_wiring(VA, wired=False) == (0, {})


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize("wired", [False, True])
def test_changing_the_wiring_of_a_superpage_demotes_it_only_if_there_is_something_to_change(
    kind: Kind, *, wired: bool
) -> None:
    host = Host(kind)
    host.enter_run(SUPER, BLOCK, 512, W, wired=wired)
    assert host.change_wiring(SUPER + VA, wired=wired) == (0, {})
    assert host.change_wiring(SUPER + VA, wired=not wired).changed == {
        "demotions": 1,
        "wired": -1 if wired else 1,
    }
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_wiring_a_run_skips_what_is_not_mapped_and_superpages_that_were_never_used(kind: Kind) -> None:
    host = Host(kind, regions=3)
    host.alloc(BLOCK, 512)
    host.enter(host.va(510), 510)
    host.enter_object(SUPER, BLOCK, 512)
    host.enter(host.va(1024), 1024)
    outcome = host.pmap_op(Operation.CHANGE_WIRING_RUN, host.va(508), n=4 + 512 + 2, wired=1)
    assert outcome == (2, {"wired": 2})
    assert host.leaves(1) == {"2M": 512}
    # To unwire what is not wired asks for nothing, so it can be done.
    assert host.pmap_op(Operation.CHANGE_WIRING_RUN, SUPER, n=512, wired=0) == (512, {})


# ---- pmap_remove_pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_ending_a_process_removes_what_is_neither_wired_nor_unmanaged(kind: Kind) -> None:
    host = Host(kind, regions=3, devices=1)
    host.enter(VA, 3, W)
    host.enter(VA + PAGE, 4, W, wired=True)
    host.enter(VA + 2 * PAGE, 5, R)
    host.enter(VA + 3 * PAGE, 1024, W)
    changed = host.run(Operation.REMOVE_PAGES, 0).changed
    assert changed == {"resident": -2, "dirty_calls": 1} | once(kind, "inv_all")
    assert [host.leaf(VA + k * PAGE) for k in range(4)] == [
        "none", "4K RW A M W", "none", "4K RW A M unmanaged",
    ]  # fmt: skip
    # What was written is passed on; that it was used is not.
    assert (host.flags(3), host.flags(5)) == ("dirty", "")
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_ending_a_process_removes_superpages_and_keeps_wired_ones(kind: Kind) -> None:
    host = Host(kind, regions=3)
    host.fill(0, W)
    host.enter_run(SUPER, BLOCK, 512, W, wired=True)
    host.enter_run(2 * SUPER, 1024, 512, R)
    changed = host.run(Operation.REMOVE_PAGES, 0).changed
    assert changed == {"resident": -2 * 513, "dirty_calls": 512} | once(kind, "inv_all")
    assert [host.leaf(SUPER * region) for region in range(3)] == ["none", "2M RW A M W", "none"]
    assert [host.flags(page) for page in (0, 1024)] == ["dirty", ""]
    check(host.st)


@pytest.mark.parametrize("kind", [EPT_AD, EPT_EMUL_NOSP, X86])
def test_ending_a_process_always_invalidates_once(kind: Kind) -> None:
    host = Host(kind)
    assert host.run(Operation.REMOVE_PAGES, 0) == (0, once(kind, "inv_all"))
