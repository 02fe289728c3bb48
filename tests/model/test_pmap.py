from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from tests.model.harness import (
    ALL,
    EMULATED_KINDS,
    EPT_AD,
    EPT_AD_NOSP,
    EPT_EMUL,
    HIT,
    KINDS,
    PAGE,
    PBASE,
    RW,
    RX,
    SUPER,
    WITH_SUPERPAGES,
    X86,
    Host,
    Kind,
    R,
    W,
    X,
)
from tests.model.invariants import check, pv_list

from eptreplay.model.pmap.pmap import (
    MINCORE_INCORE,
    MINCORE_MODIFIED,
    MINCORE_MODIFIED_OTHER,
    MINCORE_REFERENCED,
    MINCORE_REFERENCED_OTHER,
    MINCORE_SUPER,
)
from eptreplay.model.recorded.codes import Operation

BLOCK = 512  # first page of region 1
VA = 3 * PAGE


def generation(kind: Kind) -> dict[str, int]:
    """Return what one invalidation adds to the generation of a pmap."""
    return {} if kind is X86 else {"eptgen": 1}


# ---- pmap_enter ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("access", "prot", "wired", "expected"),
    [
        (R, ALL, False, "4K RW A"),
        (X, ALL, False, "4K RW A"),
        (W, ALL, False, "4K RW A M"),
        (R, RX, False, "4K A"),
        (R, R, False, "4K A NX"),
        (W, RW, True, "4K RW A M W NX"),
    ],
)
def test_a_new_mapping_has_the_rights_given_and_shows_the_access(
    kind: Kind, access: int, prot: int, expected: str, *, wired: bool
) -> None:
    host = Host(kind)
    changed = host.enter(VA + 5, 3, access, prot, wired=wired).changed
    # The page and its three tables, no invalidation.
    assert changed == {"resident": 4} | ({"wired": 1} if wired else {})
    assert host.leaf(VA) == expected
    assert host.maps(VA) == 3
    assert host.flags(3) == ("writeable" if prot & W else "")
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize("access", [R, W])
def test_entering_over_a_superpage_demotes_it_first_even_for_the_same_mapping(
    kind: Kind, access: int
) -> None:
    host = Host(kind)
    host.enter_run(host.va(BLOCK), BLOCK, 512, access, RX)
    words = host.leaf(host.va(BLOCK))
    assert words.startswith("2M")
    changed = host.enter(host.va(BLOCK + 5), BLOCK + 5, access, RX).changed
    assert changed == {"demotions": 1, "promotions": 1}
    assert host.leaves(1) == {words: 512}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "then", "expected"), [(R, W, "4K RW A"), (W, R, "4K RW A M")])
def test_entering_a_mapping_that_differs_only_in_accessed_and_modified_leaves_it(
    kind: Kind, first: int, then: int, expected: str
) -> None:
    host = Host(kind)
    host.enter(VA, 3, first)
    assert host.enter(VA, 3, then) == (0, {})
    assert host.leaf(VA) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_entering_an_unused_mapping_again_does_not_even_mark_it_used(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(3)
    host.enter_quick(VA, 3)
    assert host.enter(VA, 3, R, RX) == (0, {})
    assert host.leaf(VA) == "4K"


@pytest.mark.parametrize("kind", KINDS)
def test_entering_a_writable_mapping_again_marks_the_page_writeable(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, R)
    host.st.page[3].aflags = 0
    assert host.enter(VA, 3, R) == (0, {})
    assert host.flags(3) == "writeable"


class Replacement(NamedTuple):
    """A mapping entered in the place of another of the same page, and what that costs."""

    name: str
    old: tuple[int, int, bool]  # access, prot, wired
    new: tuple[int, int, bool]
    changed: dict[str, int]
    leaf: str


SAME_PAGE = [
    Replacement("gains write", (R, RX, False), (R, ALL, False), {}, "4K RW A"),
    Replacement("gains write and is written", (R, RX, False), (W, ALL, False), {}, "4K RW A M"),
    Replacement("clean, loses write", (R, ALL, False), (R, RX, False), {}, "4K A"),
    Replacement(
        "written, loses write", (W, ALL, False), (R, RX, False), {"inv_page": 1, "dirty_calls": 1}, "4K A"
    ),
    Replacement(
        "written, loses execute", (W, ALL, False), (R, RW, False), {"inv_page": 1, "dirty_calls": 1}, "4K RW A NX"
    ),
    Replacement("written and written again, loses execute", (W, ALL, False), (W, RW, False), {"inv_page": 1}, "4K RW A M NX"),
    Replacement("clean, loses execute", (R, RX, False), (R, R, False), {"inv_page": 1}, "4K A NX"),
    Replacement("gains execute", (R, R, False), (R, RX, False), {}, "4K A"),
    Replacement("stays without execute, gains write", (R, R, False), (R, RW, False), {}, "4K RW A NX"),
    Replacement("clean, is wired", (R, ALL, False), (R, ALL, True), {"wired": 1}, "4K RW A W"),
    Replacement("clean, is unwired", (R, ALL, True), (R, ALL, False), {"wired": -1}, "4K RW A"),
    Replacement(
        "written, is wired by a read", (W, ALL, False), (R, ALL, True), {"wired": 1, "inv_page": 1, "dirty_calls": 1}, "4K RW A W"
    ),
    Replacement("written, is wired by a write", (W, ALL, False), (W, ALL, True), {"wired": 1}, "4K RW A M W"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", SAME_PAGE, ids=lambda case: case.name)
def test_replacing_a_mapping_of_the_same_page_invalidates_only_what_cpus_may_still_use(
    kind: Kind, case: Replacement
) -> None:
    host = Host(kind)
    host.enter(VA, 3, case.old[0], case.old[1], wired=case.old[2])
    changed = host.enter(VA, 3, case.new[0], case.new[1], wired=case.new[2]).changed
    assert changed == case.changed | (generation(kind) if "inv_page" in case.changed else {})
    assert host.leaf(VA) == case.leaf
    assert ("dirty" in host.flags(3)) == ("dirty_calls" in case.changed)
    assert "referenced" not in host.flags(3)
    check(host.st)


@pytest.mark.parametrize("kind", KINDS)
def test_replacing_an_unused_mapping_never_invalidates(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(3, 3)
    host.enter_quick(VA, 3)
    assert host.enter(VA, 3, R, R) == (0, {})  # loses execute
    assert host.leaf(VA) == "4K A NX"
    host.enter_quick(VA + PAGE, 4)
    assert host.enter(VA + PAGE, 5, R, RX) == (0, {})  # another page
    assert host.maps(VA + PAGE) == 5
    assert host.flags(4) == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("access", "flags"), [(R, "referenced"), (W, "dirty referenced")])
def test_a_page_that_is_replaced_inherits_what_its_mapping_knew(kind: Kind, access: int, flags: str) -> None:
    host = Host(kind)
    host.enter(VA, 3, access)
    assert host.flags(3) == "writeable"
    changed = host.enter(VA, 4, R).changed
    dirtied = {"dirty_calls": 1} if access == W else {}
    assert changed == {"inv_page": 1} | generation(kind) | dirtied
    assert host.flags(3) == flags
    assert host.flags(4) == "writeable"
    assert host.maps(VA) == 4
    check(host.st)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_is_replaced_stays_writeable_while_it_is_mapped_elsewhere(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3)
    host.enter(VA + SUPER, 3, R, RX)
    host.enter(VA, 4)
    assert host.flags(3) == "referenced writeable"
    host.enter(VA + SUPER, 4)
    assert host.flags(3) == "referenced"


@pytest.mark.parametrize("kind", KINDS)
def test_writeable_is_set_by_entering_with_write_alone(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, R, RX)
    assert host.flags(3) == ""
    host.alloc(4)
    host.enter_quick(VA + PAGE, 4)
    assert host.flags(4) == ""
    host.enter(VA, 3, R, ALL)
    assert host.flags(3) == "writeable"
    host.enter(VA, 3, R, RX)
    assert host.flags(3) == "writeable"


@pytest.mark.parametrize("kind", KINDS)
def test_a_modified_bit_counts_only_while_the_page_is_writeable(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    assert host.page_op(Operation.IS_MODIFIED, 3).ret == 1
    host.st.page[3].aflags = 0
    assert host.page_op(Operation.IS_MODIFIED, 3).ret == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("prot", "expected"), [(ALL, "4K RW A M unmanaged"), (RX, "4K A unmanaged")])
def test_device_memory_has_no_pv_entries_and_is_modified_as_soon_as_it_is_writable(
    kind: Kind, prot: int, expected: str
) -> None:
    host = Host(kind, devices=1)
    host.enter(VA, BLOCK, R, prot)
    assert host.leaf(VA) == expected
    assert int(host.st.host[0].pc_used) == 1
    assert host.flags(BLOCK) == ""
    assert host.page_op(Operation.IS_MAPPED, BLOCK).ret == 0
    host.enter(VA, 3, R, ALL)
    assert host.leaf(VA) == "4K RW A"
    host.enter(VA, BLOCK, R, RX)
    assert host.leaf(VA) == "4K A unmanaged"
    assert host.flags(3) == "referenced"
    check(host.st)


# ---- pmap_enter_quick, pmap_enter_object, pmap_object_init_pt ------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("prot", "expected"), [(ALL, "4K"), (RX, "4K"), (RW, "4K NX"), (R, "4K NX")])
def test_a_quick_mapping_is_read_only_and_unused_whatever_is_asked_for(
    kind: Kind, prot: int, expected: str
) -> None:
    host = Host(kind)
    host.alloc(3)
    assert host.enter_quick(VA, 3, prot).changed == {"resident": 4}
    assert host.leaf(VA) == expected
    check(host.st)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quick_mapping_never_takes_the_place_of_another(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    assert host.enter_quick(VA, 3) == (0, {})
    assert host.enter_quick(VA, 4) == (0, {})
    assert host.leaf(VA) == "4K RW A M"
    assert host.maps(VA) == 3
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_quick_mapping_leaves_a_superpage_alone(kind: Kind) -> None:
    host = Host(kind)
    host.fill(0, W)
    assert host.enter_quick(VA, 512 + 3) == (0, {})
    assert host.leaves(0) == {"2M RW A M": 512}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize(("prot", "expected"), [(ALL, "2M"), (R, "2M NX")])
def test_an_object_is_mapped_by_superpages_where_both_sides_are_aligned_and_full(
    kind: Kind, prot: int, expected: str
) -> None:
    host = Host(kind, regions=3)
    host.alloc(0, 3 * 512)
    # From page 510: two small pages, two superpages.
    changed = host.enter_object(host.va(510), 510, 2 + 1024, prot).changed
    assert changed == {"resident": 2 + 1024 + 3, "mappings": 2}
    assert host.leaves(1) == host.leaves(2) == {expected: 512}
    assert host.leaf(host.va(511)) == expected.replace("2M", "4K")
    assert host.leaf(host.va(509)) == "none"
    check(host.st)


@pytest.mark.parametrize(
    "missing", ["superpages off", "va not aligned", "pa not aligned", "range too short", "not full", "taken"]
)
def test_an_object_is_mapped_by_small_pages_where_anything_is_missing(missing: str) -> None:
    host = Host(EPT_AD_NOSP if missing == "superpages off" else EPT_AD)
    host.alloc(0, 1024)
    va, page, n = host.va(BLOCK), BLOCK, 512
    if missing == "va not aligned":
        va += PAGE
    elif missing == "pa not aligned":
        page -= 1
    elif missing == "range too short":
        n -= 1
    elif missing == "not full":
        host.page_op(Operation.PAGE_FREE, BLOCK + 511)
        n = 511
    elif missing == "taken":
        host.enter(host.va(BLOCK + 7), 7)
    assert "mappings" not in host.enter_object(va, page, n).changed
    assert host.leaf(va) == host.leaf(va + (n - 1) * PAGE) == "4K"
    assert host.maps(va) == page
    if missing == "taken":
        assert host.maps(host.va(BLOCK + 7)) == 7
        assert host.leaf(host.va(BLOCK + 7)) == "4K RW A"
    check(host.st)


def test_an_object_is_mapped_as_far_as_its_pages_are_resident() -> None:
    host = Host(EPT_AD)
    for page in (3, 4, 7, 9):
        host.alloc(page)
    host.enter_object(host.va(3), 3, 6)
    mapped = {page: host.maps(host.va(page)) for page in range(512)}
    assert {page: m for page, m in mapped.items() if m is not None} == {3: 3, 4: 4, 7: 7}


def test_an_object_is_not_mapped_beyond_its_range() -> None:
    host = Host(EPT_AD)
    host.alloc(0, 16)
    assert host.enter_object(host.va(3), 3, 0) == (0, {})
    assert host.run(Operation.ENTER_OBJECT, 0, va=VA, eva=0, page=3, prot=ALL) == (0, {})
    host.enter_object(host.va(3), 3, 2)
    assert host.leaves(0) == {"4K": 2, "none": 510}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_device_memory_is_mapped_by_superpages_with_every_right(kind: Kind) -> None:
    host = Host(kind, regions=3, devices=2)
    changed = host.object_init_pt(4 * SUPER, BLOCK, 1024).changed
    assert changed == {"resident": 1024 + 2, "mappings": 2}
    assert host.leaf(4 * SUPER) == host.leaf(6 * SUPER - 1) == "2M RW A M unmanaged"
    assert host.maps(5 * SUPER) == 1024
    assert host.access(5 * SUPER + 5, W) == (HIT, {})
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_device_memory_is_not_mapped_where_something_is_mapped(kind: Kind) -> None:
    host = Host(kind, regions=3, devices=2)
    host.enter(4 * SUPER + PAGE, 3)
    assert host.object_init_pt(4 * SUPER, BLOCK, 1024).changed == {"resident": 512, "mappings": 1}
    assert host.leaf(4 * SUPER) == "none"
    assert host.leaf(5 * SUPER) == "2M RW A M unmanaged"
    check(host.st)


@pytest.mark.parametrize("missing", ["superpages off", "va", "pa", "size"])
def test_device_memory_that_does_not_fit_superpages_is_not_mapped_ahead(missing: str) -> None:
    host = Host(EPT_AD_NOSP if missing == "superpages off" else EPT_AD, regions=3, devices=2)
    outcome = host.object_init_pt(
        4 * SUPER + PAGE * (missing == "va"), BLOCK + (missing == "pa"), 512 + (missing == "size")
    )
    assert outcome == (0, {})


# ---- pmap_copy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EMULATED_KINDS)
def test_nothing_is_copied_where_bits_are_emulated(kind: Kind) -> None:
    host = Host(kind, kind)
    host.fill(0, W)
    assert host.copy(0, 512) == (0, {})


def test_nothing_is_copied_between_formats() -> None:
    host = Host(EPT_AD, X86)
    host.fill(0, W)
    assert host.copy(0, 512) == (0, {})


@pytest.mark.parametrize("kind", [EPT_AD, X86])
def test_a_superpage_is_copied_with_all_it_knows_but_unwired(kind: Kind) -> None:
    host = Host(kind, kind)
    host.enter_run(0, 0, 512, W, wired=True)
    assert host.leaf(0, 0) == "2M RW A M W"
    assert host.copy(0, 512).changed == {"resident1": 512 + 2}
    assert host.leaf(0, 1) == "2M RW A M"
    assert host.leaf(0, 0) == "2M RW A M W"
    assert host.maps(5 * PAGE, 1) == 5
    check(host.st)


@pytest.mark.parametrize("kind", [EPT_AD, X86])
@pytest.mark.parametrize(("begin", "pages"), [(0, 511), (PAGE, 511)])
def test_a_superpage_that_is_not_wholly_in_the_range_is_not_copied(
    kind: Kind, begin: int, pages: int
) -> None:
    host = Host(kind, kind)
    host.fill(0, W)
    assert host.copy(begin, pages) == (0, {})


def test_a_superpage_is_not_copied_where_something_is_mapped() -> None:
    host = Host(EPT_AD, EPT_AD)
    host.fill(0, W)
    host.enter(PAGE, 600, pm=1)
    assert host.copy(0, 512) == (0, {})
    assert host.maps(PAGE, 1) == 600
    check(host.st)


@pytest.mark.parametrize("kind", [EPT_AD, X86])
def test_small_pages_are_copied_unused_and_unwired_with_their_rights(kind: Kind) -> None:
    host = Host(kind, kind)
    host.enter(3 * PAGE, 3, W, wired=True)
    host.enter(4 * PAGE, 4, R, R)
    assert host.copy(0, 512).changed == {"resident1": 2 + 3}
    assert host.leaf(3 * PAGE, 1) == "4K RW"
    assert host.leaf(4 * PAGE, 1) == "4K NX"
    assert host.leaf(3 * PAGE, 0) == "4K RW A M W"
    check(host.st)


def test_unmanaged_pages_are_copied_by_superpages_alone() -> None:
    host = Host(EPT_AD, EPT_AD, regions=3, devices=1)
    host.enter(3 * PAGE, 1024 + 3)
    assert host.copy(0, 512) == (0, {})
    host.object_init_pt(2 * SUPER, 1024, 512)
    assert host.copy(2 * SUPER, 512).changed == {"resident1": 512 + 2}
    assert host.leaf(2 * SUPER, 1) == "2M RW A M unmanaged"
    check(host.st)


def test_a_copy_stops_for_good_at_the_first_page_that_is_mapped_already() -> None:
    host = Host(EPT_AD, EPT_AD)
    for page in (3, 4, 5, 6, 600):
        host.enter(host.va(page), page)
    host.enter(5 * PAGE, 100, pm=1)
    host.copy(0, 1024)
    assert [host.maps(page * PAGE, 1) for page in (3, 4, 5, 6, 600)] == [3, 4, 100, None, None]
    check(host.st)


def test_a_copy_of_2_mb_ends_when_the_target_has_as_many_pages_as_the_source() -> None:
    host = Host(EPT_AD, EPT_AD)
    for page in (3, 4, 5, 600):
        host.enter(host.va(page), page)
    # Page 100 counts for the target, so of three pages two are copied; the next 2 MB is copied all the same.
    host.enter(100 * PAGE, 100, pm=1)
    host.copy(0, 1024)
    assert [host.maps(page * PAGE, 1) for page in (3, 4, 5, 100, 600)] == [3, 4, None, 100, 600]
    check(host.st)


# ---- looking -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_extract_tells_a_missing_page_from_a_missing_table(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 7)
    host.fill(1, R)
    assert host.pmap_op(Operation.EXTRACT, VA + 5).ret == PBASE + 7 * PAGE + 5
    assert host.pmap_op(Operation.EXTRACT, SUPER + 9 * PAGE + 5).ret == PBASE + SUPER + 9 * PAGE + 5
    assert host.pmap_op(Operation.EXTRACT, VA + PAGE + 5).ret == 5
    for va in (2 * SUPER + 5, (1 << 30) + 5, (1 << 39) + 5):
        assert host.pmap_op(Operation.EXTRACT, va).ret == 0


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_mincore_tells_size_use_and_writes(kind: Kind) -> None:
    used = MINCORE_REFERENCED | MINCORE_REFERENCED_OTHER
    written = MINCORE_MODIFIED | MINCORE_MODIFIED_OTHER
    host = Host(kind)
    host.alloc(0, 512)
    assert host.pmap_op(Operation.MINCORE, VA).ret == 0
    host.enter_quick(VA, 3)
    assert host.pmap_op(Operation.MINCORE, VA + 5).ret == MINCORE_INCORE
    host.enter(VA, 3, R)
    assert host.pmap_op(Operation.MINCORE, VA).ret == MINCORE_INCORE | used
    host.remove(VA, 1)
    host.enter(VA, 3, W)
    assert host.pmap_op(Operation.MINCORE, VA).ret == MINCORE_INCORE | used | written
    host.remove(VA, 1)
    host.fill(0, W)
    assert host.pmap_op(Operation.MINCORE, VA).ret == MINCORE_INCORE | MINCORE_SUPER | used | written


def test_a_modified_bit_without_the_right_to_write_is_not_modified() -> None:
    host = Host(EPT_EMUL)
    host.enter(VA, 3, W, RX)
    assert host.leaf(VA) == "4K A M"
    assert host.pmap_op(Operation.MINCORE, VA).ret & MINCORE_MODIFIED == 0
    assert host.page_op(Operation.IS_MODIFIED, 3).ret == 0


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_place_is_prefaultable_when_only_the_page_is_missing(kind: Kind) -> None:
    host = Host(kind)
    host.enter(VA, 3)
    host.fill(1, R)
    beside = VA + PAGE
    for va in (VA, beside, SUPER + PAGE, 2 * SUPER, 1 << 39):
        assert host.pmap_op(Operation.IS_PREFAULTABLE, va).ret == (va == beside)


def test_two_pmaps_map_the_same_page_apart() -> None:
    host = Host(EPT_EMUL, X86)
    host.enter(VA, 3, R, pm=0)
    host.enter(VA, 3, W, RW, pm=1)
    assert host.leaf(VA, 0) == "4K RW A"
    assert host.leaf(VA, 1) == "4K RW A M NX"
    assert pv_list(host.st, int(host.st.page[3].pv_last)) == [(0, VA), (1, VA)]
    assert np.count_nonzero(host.st.pv_table) == 0
    check(host.st)
