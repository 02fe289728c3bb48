"""What a bhyve guest cannot be given: memory it may read but not execute.

The bit that means "user" in an x86 entry (PG_U) is the right to execute in a nested one, and the pmap sets it
in every mapping.  To refuse execution it sets PG_NX, bit 63, which a nested page table does not look at.
"""

from __future__ import annotations

import pytest
from tests.model.harness import (
    EPT_AD,
    HIT,
    KINDS,
    PAGE,
    REFUSED,
    RW,
    SUPER,
    WITH_SUPERPAGES,
    X86,
    Host,
    Kind,
    R,
    W,
    X,
)

from eptreplay.model.state import pte

VA = 3 * PAGE
EXECUTE = 1 << 2
NX = 1 << 63


def assert_only_x86_refuses_fetches(host: Host, kind: Kind, va: int) -> None:
    raw = host.find(va).raw
    assert raw & EXECUTE
    assert raw & NX
    assert host.access(va, X) == ((REFUSED, {"traps": 1}) if kind is X86 else (HIT, {}))


def test_the_user_bit_of_x86_is_the_execute_bit_of_ept() -> None:
    assert int(pte.PG_U) == int(pte.X86_PG_U) == int(pte.EPT_PG_EXECUTE) == EXECUTE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("access", "prot"), [(R, R), (R, RW), (W, RW)])
def test_a_page_entered_without_execute_permission_can_be_executed_by_a_guest(
    kind: Kind, access: int, prot: int
) -> None:
    host = Host(kind)
    host.enter(VA, 3, access, prot)
    assert_only_x86_refuses_fetches(host, kind, VA)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_entered_quickly_without_execute_permission_can_be_executed_by_a_guest(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(3)
    host.enter_quick(VA, 3, R)
    assert_only_x86_refuses_fetches(host, kind, VA)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prot", [R, RW])
def test_a_page_protected_from_execution_can_be_executed_by_a_guest(kind: Kind, prot: int) -> None:
    host = Host(kind)
    host.enter(VA, 3, W)
    assert host.access(VA, X).ret == HIT
    host.protect(VA, 1, prot)
    assert_only_x86_refuses_fetches(host, kind, VA)


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize("prot", [R, RW])
def test_a_superpage_protected_from_execution_can_be_executed_by_a_guest(kind: Kind, prot: int) -> None:
    host = Host(kind)
    host.fill(1, W)
    host.protect(SUPER, 512, prot)
    assert host.leaf(SUPER).startswith("2M")
    assert_only_x86_refuses_fetches(host, kind, SUPER + VA)


def test_protecting_a_guest_from_execution_costs_an_invalidation_all_the_same() -> None:
    host = Host(EPT_AD)
    host.set_active(0b11)
    host.enter(VA, 3, R, pte.VM_PROT_ALL)
    assert host.protect(VA, 1, RW).changed == {"inv_all": 1, "eptgen": 1, "ipis": 2}


def test_protecting_one_page_of_a_region_from_execution_keeps_it_from_becoming_a_superpage() -> None:
    host = Host(EPT_AD)
    host.fill(1, W, n=511)
    host.protect(SUPER, 1, RW)
    host.access_fault(host.va(1023), W)
    assert host.leaves(1) == {"4K RW A M NX": 1, "4K RW A M": 511}
    assert host.counters()["p_failures"] == 1
