from __future__ import annotations

import pytest
from tests.model.harness import (
    ALL,
    EMULATED,
    EMULATED_KINDS,
    EPT_EMUL,
    EPT_EMUL_XO,
    FAULTED,
    HARDWARE_KINDS,
    HIT,
    KINDS,
    REFUSED,
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

from eptreplay.model.recorded.codes import Operation

HANDLED = 0
NOT_HANDLED = -1
WITH_EMULATED_SUPERPAGES = (EPT_EMUL, EPT_EMUL_XO)


def emulate(host: Host, page: int, access: int) -> tuple[int, dict[str, int]]:
    return host.pmap_op(Operation.EMULATE_AD, host.va(page), access=access)


@pytest.mark.parametrize("kind", EMULATED_KINDS)
def test_the_first_read_of_an_unused_page_traps_and_gets_the_right_back(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(3)
    host.enter_quick(host.va(3), 3)
    assert host.leaf(host.va(3)) == "4K"
    # One trap; no invalidation, no generation.
    assert host.access(host.va(3), R) == (EMULATED, {"traps": 1})
    assert host.leaf(host.va(3)) == "4K A"
    assert host.access(host.va(3), R) == (HIT, {})


@pytest.mark.parametrize("kind", EMULATED_KINDS)
def test_the_first_write_to_a_writable_page_traps_marks_it_and_does_not_dirty_it(kind: Kind) -> None:
    host = Host(kind)
    host.enter(host.va(3), 3, R)
    assert host.leaf(host.va(3)) == "4K RW A"
    assert host.access(host.va(3), W) == (EMULATED, {"traps": 1})
    assert host.leaf(host.va(3)) == "4K RW A M"
    assert host.flags(3) == "writeable"
    assert host.access(host.va(3), W) == (HIT, {})


@pytest.mark.parametrize("kind", EMULATED_KINDS)
def test_a_write_marks_the_page_read_as_well(kind: Kind) -> None:
    host = Host(kind)
    host.enter(host.va(3), 3, R)
    slot = host.find(host.va(3)).slot
    host.st.pt[slot] &= ~host.st.pmap[0].PG_A
    assert host.leaf(host.va(3)) == "4K RW"
    assert host.access(host.va(3), W).ret == EMULATED
    assert host.leaf(host.va(3)) == "4K RW A M"


@pytest.mark.parametrize("kind", EMULATED_KINDS)
@pytest.mark.parametrize("access", [R, W])
def test_a_write_to_a_read_only_page_is_not_handled_and_changes_nothing(kind: Kind, access: int) -> None:
    host = Host(kind)
    host.alloc(3)
    if access == R:
        host.enter(host.va(3), 3, R, RX)
    else:
        host.enter_quick(host.va(3), 3)
    before = host.leaf(host.va(3))
    assert emulate(host, 3, W) == (NOT_HANDLED, {})
    assert host.access(host.va(3), W) == (REFUSED, {"traps": 1})
    assert host.leaf(host.va(3)) == before


@pytest.mark.parametrize("kind", EMULATED_KINDS)
@pytest.mark.parametrize("access", [R, W])
def test_an_access_where_nothing_is_mapped_is_not_handled(kind: Kind, access: int) -> None:
    host = Host(kind)
    assert emulate(host, 3, access) == (NOT_HANDLED, {})
    host.enter(host.va(4), 4)
    assert emulate(host, 3, access) == (NOT_HANDLED, {})
    assert emulate(host, 512 + 3, access) == (NOT_HANDLED, {})


@pytest.mark.parametrize("kind", HARDWARE_KINDS)
@pytest.mark.parametrize("access", [R, W])
def test_nothing_is_emulated_where_hardware_sets_the_bits(kind: Kind, access: int) -> None:
    host = Host(kind)
    host.enter(host.va(3), 3, R)
    assert emulate(host, 3, access) == (NOT_HANDLED, {})
    assert host.leaf(host.va(3)) == "4K RW A"


@pytest.mark.parametrize("kind", WITH_EMULATED_SUPERPAGES)
def test_a_read_of_an_unused_superpage_marks_all_of_it(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(0, 512)
    host.enter_object(0, 0, 512)
    assert host.access(host.va(7), R) == (EMULATED, {"traps": 1})
    assert host.leaves(0) == {"2M A": 512}
    assert host.access(host.va(500), R) == (HIT, {})


@pytest.mark.parametrize("kind", WITH_EMULATED_SUPERPAGES)
def test_a_write_to_a_superpage_that_was_only_read_is_not_handled(kind: Kind) -> None:
    host = Host(kind)
    host.fill(0, R)
    assert host.leaf(0) == "2M A"
    assert emulate(host, 7, W) == (NOT_HANDLED, {})
    assert host.leaf(0) == "2M A"


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_the_first_write_to_a_superpage_that_was_only_read_demotes_through_vm_fault_and_fails_to_promote(
    kind: Kind,
) -> None:
    host = Host(kind)
    host.fill(0, R)
    assert host.access_fault(host.va(7), W) == (FAULTED, {"traps": 1, "demotions": 1, "p_failures": 1})
    assert host.leaves(0) == {"4K A": 511, "4K RW A M": 1}
    assert host.leaf(host.va(7)) == "4K RW A M"
    check(host.st)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
def test_a_region_that_was_only_read_becomes_writable_page_by_page_and_then_a_superpage_again(
    kind: Kind,
) -> None:
    host = Host(kind)
    host.fill(0, R)
    before = host.counters()
    outcome = host.fill(0, W)
    assert outcome.ret == 512 << 48
    after = host.counters()
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert changed == {"traps": 512, "demotions": 1, "p_failures": 511, "promotions": 1}
    assert host.leaves(0) == {"2M RW A M": 512}


@pytest.mark.parametrize("kind", WITH_EMULATED_SUPERPAGES)
def test_marking_the_last_page_of_a_region_as_used_promotes_it(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(0, 512)
    for page in range(512):
        host.enter_quick(host.va(page), page)
    # Entering quickly never promotes; marking tries after every page.
    assert host.counters()["p_failures"] == 0
    outcome = host.fill(0, R)
    assert outcome.ret == 512 << 16
    assert outcome.changed == {"traps": 512, "p_failures": 511, "promotions": 1}
    assert host.leaves(0) == {"2M A": 512}
    check(host.st)


@pytest.mark.parametrize("kind", WITH_EMULATED_SUPERPAGES)
def test_marking_the_last_page_of_a_region_as_written_promotes_it(kind: Kind) -> None:
    host = Host(kind)
    host.enter_run(0, 0, 511, W)
    host.alloc(511)
    slot = host.find(0).slot
    # Page 511 is writable and clean while its neighbour 510 is missing, so that nothing is tried too early.
    host.remove(host.va(510), 1)
    host.enter(host.va(511), 511, R)
    host.enter_quick(host.va(510), 510)
    host.st.pt[slot + 510] |= host.st.pmap[0].PG_RW | host.st.pmap[0].PG_A | host.st.pmap[0].PG_M
    assert host.leaf(host.va(511)) == "4K RW A"
    assert host.access(host.va(511), W) == (EMULATED, {"traps": 1, "promotions": 1})
    assert host.leaf(0) == "2M RW A M"


@pytest.mark.parametrize("kind", KINDS)
def test_a_fetch_is_never_emulated(kind: Kind) -> None:
    host = Host(kind)
    assert host.access(host.va(3), X) == (REFUSED, {"traps": 1})
    assert host.access_fault(host.va(3), X).ret == FAULTED
    # The fault of a fetch marks the page as used, like any other.
    assert host.leaf(host.va(3)) == "4K RW A"


@pytest.mark.parametrize("kind", EMULATED_KINDS)
def test_a_fetch_leaves_no_trace_where_bits_are_emulated(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(3)
    host.enter_quick(host.va(3), 3)
    assert host.access(host.va(3), X) == (HIT, {})
    assert host.leaf(host.va(3)) == "4K"
    assert host.page_op(Operation.IS_REFERENCED, 3).ret == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_fault_enters_the_page_as_modified_so_that_the_retry_is_taken(kind: Kind) -> None:
    host = Host(kind)
    assert host.access_fault(host.va(3), W).changed["traps"] == 1
    assert host.leaf(host.va(3)) == "4K RW A M"


@pytest.mark.parametrize("kind", EMULATED_KINDS)
def test_the_hardware_rights_are_the_emulated_bits(kind: Kind) -> None:
    host = Host(kind)
    rights = []
    host.alloc(3)
    host.enter_quick(host.va(3), 3)
    rights.append(host.find(host.va(3)).raw & 7)
    host.access(host.va(3), R)
    rights.append(host.find(host.va(3)).raw & 7)
    host.enter(host.va(3), 3, R, ALL)
    rights.append(host.find(host.va(3)).raw & 7)
    host.access(host.va(3), W)
    rights.append(host.find(host.va(3)).raw & 7)
    assert rights == [0b100, 0b101, 0b101, 0b111]


def test_x86_never_asks_for_emulation() -> None:
    host = Host(X86)
    host.alloc(3)
    host.enter_quick(host.va(3), 3)
    assert host.access(host.va(3), W) == (REFUSED, {"traps": 1})
    assert host.leaf(host.va(3)) == "4K"
