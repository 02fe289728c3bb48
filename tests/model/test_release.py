"""The rules that differ between releases, one by one, each beside what 10.0 does.  Numbers are those of docs/releases.md."""

from __future__ import annotations

import pytest
from tests.model.harness import (
    ALL,
    EPT_AD,
    EPT_EMUL,
    EPT_EMUL_XO,
    NPTEPG,
    PAGE,
    RVI,
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

from eptreplay.model.pmap.pmap_enter_2m import KERN_FAILURE, KERN_SUCCESS
from eptreplay.model.recorded.codes import Operation
from eptreplay.model.state.releases import (
    ASSERT_ACTIVE,
    ASSERT_CLEAN_2M,
    ASSERT_NOT_FULL,
    ASSERT_UNREADABLE,
    ASSERT_UNWIRE,
    ASSERT_WIRED_2M,
    ASSERT_WIRED_UNUSED,
    FREEBSD_10_0,
    FREEBSD_14_0,
    FREEBSD_14_LATER,
)

OLD, NEW, LATER = FREEBSD_10_0, FREEBSD_14_0, FREEBSD_14_LATER
BLOCK = 512  # first page of region 1
LAST = BLOCK + 511
AFTER_10_0 = pytest.mark.parametrize("release", [NEW, LATER])


def filled(kind: Kind, access: int = W) -> Host:
    """Return a host whose region 1 was filled by accesses of one kind: a superpage, where the release makes one."""
    host = Host(kind)
    host.fill(1, access)
    return host


def mapped_2m(kind: Kind) -> Host:
    """Return a host whose region 1 was mapped at once."""
    host = Host(kind)
    host.alloc(BLOCK, NPTEPG)
    assert host.enter_2m(host.va(BLOCK), BLOCK).ret == KERN_SUCCESS
    return host


# ---- rules 1 to 5: promotion and demotion ----------------------------------------------------------------------


@pytest.mark.parametrize("release", [OLD, NEW, LATER])
@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_rule_1_only_later_releases_mark_a_superpage_that_was_promoted(kind: Kind, release: int) -> None:
    host = filled(kind.under(release))
    assert host.find(host.va(BLOCK)).level == 2
    assert host.is_promoted(host.va(BLOCK)) == (release != OLD)


@pytest.mark.parametrize(("release", "failures"), [(OLD, 0), (NEW, 1), (LATER, 0)])
@pytest.mark.parametrize("kind", [EPT_AD, EPT_EMUL])
def test_rule_3_the_2m_x_rule_forbids_a_promotion_and_14_0_counts_it(
    kind: Kind, release: int, failures: int
) -> None:
    host = Host(kind.under(release, 1))
    host.fill(1, R, n=511)
    changed = host.access_fault(host.va(LAST), R).changed
    assert changed.get("promotions", 0) == (release == OLD)
    assert changed.get("p_failures", 0) == failures
    if release != OLD:
        # Nothing is write-protected on the way.
        assert host.leaves(1) == {"4K RW A": 512}


@AFTER_10_0
@pytest.mark.parametrize("kind", [X86, RVI])
def test_rule_3_the_2m_x_rule_is_about_ept_alone(kind: Kind, release: int) -> None:
    assert filled(kind.under(release, 1)).counters()["promotions"] == 1


@AFTER_10_0
def test_rule_3_the_sysctl_can_be_written_at_run_time(release: int) -> None:
    host = filled(EPT_AD.under(release))
    host.run(Operation.SET_ALLOW_2M_X, arg=1)
    assert host.find(host.va(BLOCK)).level == 2  # what is there stays
    host.fill(0, W)
    assert host.find(0).level == 1
    host.run(Operation.SET_ALLOW_2M_X, arg=0)
    host.enter(0, 0, W)
    assert host.find(0).level == 2


@pytest.mark.parametrize(("release", "promotes"), [(OLD, False), (NEW, False), (LATER, True)])
def test_rule_3_only_14_later_promotes_pages_that_were_not_accessed(release: int, promotes: bool) -> None:
    host = Host(EPT_AD.under(release))
    host.enter_run(host.va(BLOCK), BLOCK, 511, W)
    host.ts_referenced(BLOCK + 7)  # clears A of one
    changed = host.enter(host.va(LAST), LAST, W).changed
    assert changed.get("promotions", 0) == promotes
    assert changed.get("p_failures", 0) == (not promotes)
    if promotes:
        assert host.leaf(host.va(BLOCK)) == "2M RW M"  # A is the AND of 512


def test_rule_5_14_later_fills_the_table_of_a_superpage_that_was_not_accessed_as_a_whole() -> None:
    host = Host(EPT_AD.under(LATER))
    host.enter_run(host.va(BLOCK), BLOCK, 511, W)
    host.ts_referenced(BLOCK + 7)
    host.enter(host.va(LAST), LAST, W)
    host.access(host.va(BLOCK), R)  # the superpage is accessed now
    host.protect(host.va(BLOCK), 1, RX)
    assert host.leaf(host.va(BLOCK + 7)) == "4K RW A M"


@pytest.mark.parametrize(
    ("release", "kind_of"), [(OLD, "inv_page"), (NEW, "inv_range"), (LATER, "inv_range")]
)
def test_rule_5_a_promoted_superpage_that_was_never_used_is_invalidated_as_a_range(
    release: int, kind_of: str
) -> None:
    host = filled(EPT_AD.under(release))
    chosen = next(
        page for page in range(BLOCK, BLOCK + NPTEPG) if "inv_page" in host.ts_referenced(page).changed
    )
    assert "A" not in host.leaf(host.va(chosen)).split()
    before = host.counters()
    host.enter(host.va(BLOCK), BLOCK, R)
    after = host.counters()
    moved = {name for name in ("inv_page", "inv_range", "inv_all") if after[name] != before[name]}
    assert moved == {kind_of}


def test_rule_5_ptes_that_are_written_anew_keep_the_mark_and_so_rule_7_does_not_spare_them() -> None:
    host = Host(EPT_AD.under(NEW))
    host.enter_run(host.va(BLOCK), BLOCK, NPTEPG, W, wired=True)
    host.unwire(host.va(BLOCK), NPTEPG)
    host.protect(host.va(BLOCK), 1, RX)  # demotes; the table that was kept is wired still, so it is filled
    assert host.find(host.va(BLOCK + 1)).level == 1
    assert host.is_promoted(host.va(BLOCK + 1))
    host.enter(host.va(BLOCK + 1), BLOCK + 1, W)
    assert not host.is_promoted(host.va(BLOCK + 1))


# ---- rules 8 to 12 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "calls"), [(OLD, 0), (NEW, 1), (LATER, 1)])
def test_rule_8_an_unmanaged_pte_that_is_replaced_is_invalidated_even_if_never_used(
    release: int, calls: int
) -> None:
    host = Host(EPT_AD.under(release), devices=1)
    host.enter_quick(0, BLOCK)  # device memory; without A
    assert host.enter(0, 1, R).changed.get("inv_page", 0) == calls


@pytest.mark.parametrize("prot", [W, X])
@pytest.mark.parametrize(("release", "kept"), [(OLD, False), (NEW, True), (LATER, True)])
def test_rule_9_rights_without_read_unmap_under_10_0_only(release: int, kept: bool, prot: int) -> None:
    host = Host(EPT_AD.under(release))
    host.enter(0, 0, W)
    host.protect(0, 1, prot)
    assert (host.find(0).level == 1) == kept


@pytest.mark.parametrize(("release", "calls"), [(OLD, 512), (NEW, 0), (LATER, 0)])
def test_rule_9_taking_the_right_to_execute_dirties_a_superpage_under_10_0_only(
    release: int, calls: int
) -> None:
    host = filled(EPT_AD.under(release))
    assert host.protect(host.va(BLOCK), NPTEPG, RW).changed.get("dirty_calls", 0) == calls
    assert host.leaf(host.va(BLOCK)) == "2M RW A M NX"
    assert not host.is_promoted(host.va(BLOCK))
    assert host.protect(host.va(BLOCK), NPTEPG, R).changed["dirty_calls"] == 512


@pytest.mark.parametrize(("release", "calls"), [(OLD, 0), (NEW, 1), (LATER, 1)])
@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_rule_12_ts_referenced_dirties_what_it_finds_written(kind: Kind, release: int, calls: int) -> None:
    host = filled(kind.under(release))
    assert host.ts_referenced(BLOCK).changed.get("dirty_calls", 0) == calls
    # Of a superpage's pages the one that was asked about is dirty, no other.
    assert host.flags(BLOCK) == ("dirty writeable" if calls else "writeable")
    assert host.flags(BLOCK + 2) == "writeable"


@pytest.mark.parametrize(("release", "calls"), [(OLD, 1), (NEW, 2), (LATER, 2)])
def test_rule_12_a_mapping_that_is_removed_is_counted_twice(release: int, calls: int) -> None:
    host = Host(EPT_EMUL.under(release))
    host.enter(0, 0, W)
    assert host.ts_referenced(0).changed["dirty_calls"] == calls
    assert host.leaf(0) == "none"


# ---- rules 17 to 23 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "unmapped"), [(OLD, 3), (NEW, 9), (LATER, 9)])
def test_rule_17_advice_unmaps_the_last_page_of_a_superpages_part(release: int, unmapped: int) -> None:
    host = filled(EPT_AD.under(release))
    host.advise(host.va(BLOCK + 3), 7, 4)
    assert [k for k in range(NPTEPG) if host.leaf(host.va(BLOCK + k)) == "none"] == [unmapped]


@pytest.mark.parametrize(("release", "promotes"), [(OLD, False), (NEW, False), (LATER, True)])
def test_rule_18_enter_quick_promotes_in_14_later_only(release: int, promotes: bool) -> None:
    host = Host(EPT_AD.under(release))
    host.alloc(BLOCK, NPTEPG)
    for k in range(NPTEPG):
        host.enter_quick(host.va(BLOCK + k), BLOCK + k)
    assert host.counters()["promotions"] == promotes


@AFTER_10_0
def test_rule_18_enter_object_obeys_the_2m_x_rule(release: int) -> None:
    host = Host(EPT_AD.under(release, 1))
    host.alloc(BLOCK, NPTEPG)
    host.enter_object(host.va(BLOCK), BLOCK, NPTEPG)
    assert host.leaves(1) == {"4K": 512}
    assert host.counters()["mappings"] == 0


@AFTER_10_0
def test_rule_19_a_whole_superpage_is_unwired_in_place(release: int) -> None:
    host = Host(EPT_AD.under(release))
    host.enter_run(host.va(BLOCK), BLOCK, NPTEPG, W, wired=True)
    assert host.leaf(host.va(BLOCK)) == "2M RW A M W"
    assert host.unwire(host.va(BLOCK), NPTEPG).changed == {"wired": -512}
    assert host.leaf(host.va(BLOCK)) == "2M RW A M"
    assert host.is_promoted(host.va(BLOCK))


@AFTER_10_0
def test_rule_19_a_part_of_a_superpage_is_demoted_first(release: int) -> None:
    host = Host(EPT_AD.under(release))
    host.enter_run(host.va(BLOCK), BLOCK, NPTEPG, W, wired=True)
    assert host.unwire(host.va(BLOCK), 2).changed == {"wired": -2, "demotions": 1}
    assert host.leaves(1) == {"4K RW A M": 2, "4K RW A M W": 510}


@AFTER_10_0
def test_rule_20_rvi_makes_generations_and_ipis_and_walks_as_x86(release: int) -> None:
    host = filled(RVI.under(release))
    host.set_active(0b111)
    changed = host.remove(host.va(BLOCK), NPTEPG).changed
    assert (changed["eptgen"], changed["ipis"]) == (1, 3)
    assert "x86_ipis" not in changed
    assert int(host.st.pmap[0].PG_A) == 1 << 5


@AFTER_10_0
def test_rule_22_device_memory_gets_executable_2m_mappings_all_the_same(release: int) -> None:
    host = Host(EPT_AD.under(release, 1), devices=1)
    host.object_init_pt(host.va(BLOCK), BLOCK, NPTEPG)
    assert host.leaf(host.va(BLOCK)) == "2M RW A M unmanaged"
    assert not host.is_promoted(host.va(BLOCK))


@pytest.mark.parametrize(("release", "copied"), [(OLD, "2M RW A M"), (NEW, "2M RW M"), (LATER, "2M RW M")])
def test_rule_23_a_copied_superpage_is_not_accessed_and_counts_as_a_mapping(
    release: int, copied: str
) -> None:
    kind = EPT_AD.under(release)
    host = Host(kind, kind)
    host.fill(1, W)
    changed = host.copy(host.va(BLOCK), NPTEPG).changed
    assert host.leaf(host.va(BLOCK), 1) == copied
    assert host.is_promoted(host.va(BLOCK), 1) == (release != OLD)
    assert changed.get("mappings", 0) == (release != OLD)


# ---- rules 10, 25, 26 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "root"), [(OLD, 0), (NEW, 1), (LATER, 1)])
def test_rule_25_resident_counts_the_root_and_rule_10_knows(release: int, root: int) -> None:
    host = Host(EPT_AD.under(release))
    assert host.counters()["resident"] == root
    assert host.remove(0, NPTEPG).changed == {}
    host.enter(0, 0, W)
    host.remove(0, NPTEPG)
    assert host.counters()["resident"] == root


@AFTER_10_0
def test_rule_26_two_megabytes_are_entered_at_once(release: int) -> None:
    host = Host(EPT_AD.under(release))
    host.alloc(BLOCK, NPTEPG)
    changed = host.enter_2m(host.va(BLOCK), BLOCK).changed
    assert changed == {"mappings": 1, "resident": 512 + 2}  # two tables above; none is kept for a demotion
    assert host.leaf(host.va(BLOCK)) == "2M RW A M"
    assert not host.is_promoted(host.va(BLOCK))
    assert {host.flags(page) for page in range(BLOCK, BLOCK + NPTEPG)} == {"writeable"}


@AFTER_10_0
def test_rule_26_it_replaces_even_the_same_superpage_and_invalidates_by_what_it_was(release: int) -> None:
    host = mapped_2m(EPT_AD.under(release))
    again = host.enter_2m(host.va(BLOCK), BLOCK).changed
    assert (again["inv_page"], again["dirty_calls"], again["mappings"]) == (1, 512, 1)
    assert "demotions" not in again
    promoted = filled(EPT_AD.under(release))
    assert promoted.enter_2m(promoted.va(BLOCK), BLOCK).changed["inv_range"] == 1


@AFTER_10_0
def test_rule_26_it_replaces_4k_pages_one_by_one_with_one_invalidation(release: int) -> None:
    host = Host(EPT_AD.under(release))
    host.fill(1, W, n=100)
    host.alloc(BLOCK, NPTEPG)
    changed = host.enter_2m(host.va(BLOCK), BLOCK).changed
    assert (changed["inv_all"], changed["dirty_calls"]) == (1, 100)
    assert "inv_page" not in changed


@AFTER_10_0
def test_rule_26_the_2m_x_rule_refuses_and_touches_nothing(release: int) -> None:
    host = Host(EPT_AD.under(release, 1))
    host.alloc(BLOCK, NPTEPG)
    assert host.enter_2m(host.va(BLOCK), BLOCK) == (KERN_FAILURE, {})


def test_rule_26_14_later_enters_wired_and_keeps_a_table_for_the_demotion() -> None:
    host = Host(EPT_AD.under(LATER))
    host.alloc(BLOCK, NPTEPG)
    changed = host.enter_2m(host.va(BLOCK), BLOCK, wired=True).changed
    assert changed == {"mappings": 1, "resident": 512 + 3, "wired": 512}
    assert host.unwire(host.va(BLOCK), 1).changed == {"wired": -1, "demotions": 1}


# ---- what the kernel asserts never to occur -----------------------------------------------------------------------


def test_assertions_are_noted_by_name_and_end_the_operations() -> None:
    host = Host(EPT_AD.under(NEW))
    host.alloc(BLOCK, NPTEPG)
    host.enter_2m(host.va(BLOCK), BLOCK, access=R)
    assert host.asserted() == ASSERT_CLEAN_2M

    host = Host(EPT_AD.under(NEW))
    host.enter_2m(host.va(BLOCK), BLOCK)
    assert host.asserted() == ASSERT_NOT_FULL

    host = Host(EPT_AD.under(NEW))
    host.alloc(BLOCK, NPTEPG)
    host.enter_2m(host.va(BLOCK), BLOCK, wired=True)
    assert host.asserted() == ASSERT_WIRED_2M

    host = Host(EPT_AD.under(NEW))
    host.enter(0, 0, W)
    host.unwire(0, 1)
    assert host.asserted() == ASSERT_UNWIRE

    host = Host(EPT_AD.under(NEW))
    host.set_active(1)
    host.run(Operation.REMOVE_PAGES, 0)
    assert host.asserted() == ASSERT_ACTIVE


def test_a_wired_superpage_that_was_not_used_must_not_be_demoted() -> None:
    host = Host(EPT_AD.under(LATER))
    host.enter_run(host.va(BLOCK), BLOCK, 511, W, wired=True)
    host.ts_referenced(BLOCK + 7)
    host.enter(host.va(LAST), LAST, W, wired=True)
    assert host.leaf(host.va(BLOCK)) == "2M RW M W"
    host.unwire(host.va(BLOCK), 1)
    assert host.asserted() == ASSERT_WIRED_UNUSED


@pytest.mark.parametrize(("kind", "asserted"), [(EPT_EMUL, ASSERT_UNREADABLE), (EPT_EMUL_XO, 0)])
def test_an_emulated_superpage_without_read_needs_a_cpu_with_execute_only_entries(
    kind: Kind, asserted: int
) -> None:
    host = Host(kind.under(LATER))
    host.alloc(BLOCK, NPTEPG)
    for k in range(NPTEPG):
        host.enter_quick(host.va(BLOCK + k), BLOCK + k)
    assert host.asserted() == asserted


def test_10_0_asserts_nothing_of_this() -> None:
    host = Host(EPT_AD)
    host.set_active(1)
    host.run(Operation.REMOVE_PAGES, 0)
    assert host.asserted() == 0


@AFTER_10_0
def test_two_megabytes_apart_are_two_superpages(release: int) -> None:
    host = Host(EPT_AD.under(release), misaligned=0)
    host.fill(0, W)
    host.fill(1, W)
    assert host.counters()["promotions"] == 2
    assert host.find(SUPER - PAGE).level == host.find(SUPER).level == 2
    assert host.protect(0, 2 * NPTEPG, ALL).changed == {}
