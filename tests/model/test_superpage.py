from __future__ import annotations

import numpy as np
import pytest
from tests.model.harness import (
    ALL,
    EPT_AD,
    EPT_AD_NOSP,
    EPT_EMUL_NOSP,
    FAULTED,
    NPTEPG,
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
    X,
)
from tests.model.invariants import by_pages, check

from eptreplay.model.recorded.codes import Operation

BLOCK = 512  # first page of region 1
LAST = BLOCK + 511


# ---- promotion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize(("access", "expected"), [(R, "2M A"), (W, "2M RW A M"), (X, "2M A")])
def test_a_region_becomes_a_superpage_that_is_writable_only_if_it_was_written(
    kind: Kind, access: int, expected: str
) -> None:
    host = Host(kind)
    host.fill(1, access, n=511)
    assert host.leaf(host.va(BLOCK)) == ("4K RW A M" if access == W else "4K RW A")
    # The last page: its fault, its mapping, and nothing else but the promotion.
    assert host.access_fault(host.va(LAST), access) == (
        FAULTED,
        {"traps": 1, "resident": 1, "promotions": 1},
    )
    assert host.leaves(1) == {expected: 512}
    assert host.flags(BLOCK) == "writeable"
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize("access", [R, W])
def test_a_superpage_translates_as_its_512_pages_did(kind: Kind, access: int) -> None:
    host = Host(kind)
    host.enter_run(host.va(BLOCK), BLOCK, 511, access, RX)
    before = by_pages(check(host.st)[0])
    host.enter(host.va(LAST), LAST, access, RX)
    (pmap,) = check(host.st)
    assert len(pmap.large.raw) == 1
    after = by_pages(pmap)
    assert (after.va[:-1] == before.va).all()
    assert (after.page[:-1] == before.page).all()
    assert (after.raw[:-1] == before.raw).all()
    assert host.maps(host.va(LAST)) == LAST


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_promotion_keeps_the_page_table_page_and_counts_it(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, W)
    slot = host.find(host.va(BLOCK)).slot
    table = int(host.st.pm_root[slot])
    assert table != 0
    assert int(host.st.ptp[table].wire_count) == NPTEPG
    assert host.counters()["resident"] == 512 + 3
    assert host.tables_in_use() == 4


@pytest.mark.parametrize("kind", [EPT_AD_NOSP, EPT_EMUL_NOSP])
def test_without_the_superpage_flag_no_promotion_is_tried(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, W)
    assert host.leaves(1) == {"4K RW A M": 512}
    counters = host.counters()
    assert counters["promotions"] == counters["p_failures"] == 0


def test_device_memory_is_never_promoted() -> None:
    host = Host(EPT_AD, devices=1)
    host.enter_run(host.va(BLOCK), BLOCK, 512, W, ALL)
    assert host.leaves(1) == {"4K RW A M unmanaged": 512}
    counters = host.counters()
    assert counters["promotions"] == counters["p_failures"] == 0


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_no_promotion_is_tried_before_the_page_table_page_is_full(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.fill(1, W, n=511)
    host.enter(host.va(BLOCK), BLOCK, W)
    counters = host.counters()
    assert counters["promotions"] == counters["p_failures"] == 0


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_the_reservation_that_must_be_full_is_that_of_the_page_entered(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(0, 512)
    host.fill(1, W, n=511)
    # The region is full, and so is the other reservation: tried, and in vain.
    assert host.enter(host.va(LAST), 0, W).changed == {"resident": 1, "p_failures": 1}
    # Page 511 of this one is not allocated.
    assert host.enter(host.va(BLOCK), BLOCK, W).changed == {}
    # Now it is, though what is mapped in its place is another page.
    host.alloc(LAST)
    assert host.enter(host.va(BLOCK), BLOCK, W).changed == {"p_failures": 1}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_promotion_is_tried_though_nothing_was_entered_anew(kind: Kind) -> None:
    host = Host(kind)
    host.enter_run(host.va(BLOCK), BLOCK, 511, W)
    host.alloc(LAST)
    host.enter_quick(host.va(LAST), LAST)
    assert host.counters()["p_failures"] == 0
    assert host.enter(host.va(BLOCK), BLOCK, W).changed == {"p_failures": 1}


def misfits(host: Host, odd: str) -> None:
    """Map region 1 with page 5 of it unlike the others, which are written."""
    for k in range(512):
        page = 5 if odd == "other page" and k == 5 else BLOCK + k
        prot = RW if odd == "no execute" and k == 5 else RX if odd == "read-only" and k == 5 else ALL
        access = R if odd in ("clean", "read-only") and k == 5 else W
        host.enter(host.va(BLOCK + k), page, access, prot, wired=odd == "wired" and k == 5)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize(
    ("odd", "left"),
    [
        ("other page", "4K RW A M"),
        ("no execute", "4K RW A M NX"),
        ("wired", "4K RW A M W"),
        ("read-only", "4K A"),
        ("clean", "4K A"),  # it had the right to write and lost it on the way
    ],
)
def test_one_page_unlike_the_first_makes_a_promotion_fail(kind: Kind, odd: str, left: str) -> None:
    host = Host(kind)
    host.alloc(0, 1024)
    misfits(host, odd)
    counters = host.counters()
    assert (counters["promotions"], counters["p_failures"]) == (0, 1)
    assert host.leaf(host.va(BLOCK + 5)) == left
    assert sum(count for words, count in host.leaves(1).items() if words == "4K RW A M") >= 511
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_one_page_that_was_never_used_makes_a_promotion_fail(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.enter_quick(host.va(BLOCK + 5), BLOCK + 5)
    for k in range(512):
        if k != 5:
            host.enter(host.va(BLOCK + k), BLOCK + k, R, RX)
    counters = host.counters()
    assert (counters["promotions"], counters["p_failures"]) == (0, 1)
    assert host.leaves(1) == {"4K A": 511, "4K": 1}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_first_page_that_was_never_used_makes_a_promotion_fail(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.enter_quick(host.va(BLOCK), BLOCK)
    host.enter_run(host.va(BLOCK + 1), BLOCK + 1, 511, R)
    assert host.counters()["p_failures"] == 1
    # Nothing was looked at beyond it, so nothing lost the right to write.
    assert host.leaves(1) == {"4K": 1, "4K RW A": 511}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_memory_that_is_not_aligned_like_its_addresses_is_never_promoted(kind: Kind) -> None:
    host = Host(kind, regions=3, misaligned=PAGE)
    host.alloc(0, 3 * 512)
    host.fill(0, W)
    host.fill(1, W)
    counters = host.counters()
    assert counters["promotions"] == 0
    # The one page table that fills up is tried once for every page entered after that: the last one.
    assert counters["p_failures"] == 1
    assert host.leaves(0) == host.leaves(1) == {"4K RW A M": 512}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_rights_taken_before_a_promotion_fails_stay_taken(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.enter_run(host.va(BLOCK), BLOCK, 511, R)
    host.enter(host.va(BLOCK + 5), BLOCK + 5, R, RW)
    # From the last page down to page 5, which cannot be executed, and the first.
    assert host.enter(host.va(LAST), LAST, R).changed == {"resident": 1, "p_failures": 1}
    expected = {0: "4K A", 1: "4K RW A", 4: "4K RW A", 5: "4K A NX", 6: "4K A", 510: "4K A", 511: "4K A"}
    assert {k: host.leaf(host.va(BLOCK + k)) for k in expected} == expected
    assert {host.flags(BLOCK + k) for k in range(512)} == {"writeable"}


# ---- demotion ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize("access", [R, W])
def test_a_demotion_gives_back_the_entries_that_were_promoted(kind: Kind, access: int) -> None:
    host = Host(kind)
    host.enter_run(host.va(BLOCK), BLOCK, 512, access, RX)
    promoted = by_pages(check(host.st)[0])
    assert host.leaves(1) == {"2M A M" if access == W else "2M A": 512}
    # Wiring one page demotes and does nothing else: no invalidation, no new page-table page.
    outcome = host.change_wiring(host.va(BLOCK + 5), wired=True)
    assert outcome.changed == {"demotions": 1, "wired": 1}
    host.change_wiring(host.va(BLOCK + 5), wired=False)
    (pmap,) = check(host.st)
    assert len(pmap.large.raw) == 0
    demoted = by_pages(pmap)
    for before, after in zip(promoted, demoted, strict=True):
        assert (before == after).all()


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_what_changed_in_a_superpage_shows_in_all_of_its_pages_once_it_is_demoted(kind: Kind) -> None:
    host = Host(kind)
    host.fill(1, W)
    host.protect(host.va(BLOCK), 512, R)
    assert host.leaf(host.va(BLOCK)) == "2M A NX"
    host.change_wiring(host.va(LAST), wired=True)
    assert host.leaves(1) == {"4K A NX": 511, "4K A W NX": 1}
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_demoting_an_unused_superpage_removes_it_and_does_not_count(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.enter_object(host.va(BLOCK), BLOCK, 512)
    assert host.leaf(host.va(BLOCK)) == "2M"
    # The whole 2 MB goes with both tables above; then page 5 is entered alone, with three tables.
    changed = host.enter(host.va(BLOCK + 5), BLOCK + 5, R).changed
    assert changed.pop("eptgen", 0) == (kind is not X86)
    assert changed == {"inv_page": 1, "resident": -512 + 1 + 1}
    assert host.leaves(1) == {"none": 511, "4K RW A": 1}
    assert [host.flags(BLOCK + k) for k in (0, 5, 511)] == ["", "writeable", ""]
    check(host.st)


def test_an_unused_superpage_that_was_written_dirties_its_pages_when_a_demotion_removes_it() -> None:
    host = Host(EPT_AD)
    host.fill(0, W)
    # Page 0 is the one of its superpage that may clear the accessed bit.
    assert host.ts_referenced(0) == (1, {"inv_page": 1, "eptgen": 1})
    assert host.leaf(0) == "2M RW M"
    # Tables that go: the kept one, the one that held the superpage and the one above; three come.
    changed = host.enter(0, 0, R).changed
    assert changed == {"dirty_calls": 512, "inv_page": 1, "eptgen": 1, "resident": -511}
    assert {host.flags(page) for page in range(1, 512)} == {"dirty"}
    assert host.flags(0) == "dirty writeable"
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_superpage_that_was_mapped_at_once_gets_a_page_table_page_when_demoted(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(BLOCK, 512)
    host.enter_object(host.va(BLOCK), BLOCK, 512, RX)
    assert host.tables_in_use() == 3
    host.access(host.va(BLOCK), R)
    assert host.leaf(host.va(BLOCK)) == "2M A"
    changed = host.change_wiring(host.va(BLOCK + 5), wired=True).changed
    assert changed == {"demotions": 1, "wired": 1, "resident": 1}
    assert host.tables_in_use() == 4
    assert host.leaves(1) == {"4K A": 511, "4K A W": 1}
    assert [host.maps(host.va(page)) for page in (BLOCK, LAST)] == [BLOCK, LAST]
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_only_the_pmap_that_asks_is_demoted(kind: Kind) -> None:
    host = Host(kind, EPT_AD)
    host.fill(0, R, pm=0)
    host.fill(0, R, pm=1)
    host.change_wiring(host.va(5, 0), wired=True)
    assert host.leaf(host.va(0, 0), 0) == "4K A"
    assert host.leaf(host.va(0, 1), 1) == "2M A"
    check(host.st)


# ---- superpages in place -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_only_promotion_makes_wired_superpages(kind: Kind) -> None:
    host = Host(kind)
    host.enter_run(host.va(BLOCK), BLOCK, 512, W, wired=True)
    assert host.leaf(host.va(BLOCK)) == "2M RW A M W"
    assert host.counters()["wired"] == 512
    assert host.page_op(Operation.WIRED_MAPPINGS, BLOCK + 7).ret == 1
    host.remove(host.va(BLOCK), 512)
    assert host.counters()["wired"] == 0


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_superpage_can_lie_in_each_part_of_the_address_space(kind: Kind) -> None:
    for va in (0, 1 << 30, (1 << 39) - SUPER, 1 << 39, (1 << 47) - SUPER):
        host = Host(kind)
        host.enter_run(va, 0, 512, R, RX)
        assert host.leaf(va) == host.leaf(va + SUPER - 1) == "2M A"
        assert host.counters()["resident"] == 515
        assert np.count_nonzero(host.st.pv_table) == 1
        check(host.st)
