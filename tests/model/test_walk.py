from __future__ import annotations

import numpy as np
import pytest
from tests.model.harness import (
    ALL,
    EMULATED_KINDS,
    HARDWARE_KINDS,
    HIT,
    KINDS,
    PAGE,
    REFUSED,
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

NX = np.uint64(1 << 63)


def mapped(kind: Kind, access: int = W, prot: int = ALL) -> Host:
    host = Host(kind)
    host.enter(host.va(3), 3, access, prot)
    return host


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("access", [R, W, X])
def test_nothing_is_mapped_at_first(kind: Kind, access: int) -> None:
    host = Host(kind)
    for va in (0, PAGE, SUPER, 1 << 30, 1 << 39, (1 << 47) - 1):
        assert host.access(va, access) == (REFUSED, {"traps": 1})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("access", [R, W, X])
def test_only_the_page_entered_is_mapped_to_its_last_byte(kind: Kind, access: int) -> None:
    host = mapped(kind)
    begin = host.va(3)
    assert host.access(begin - 1, access).ret == REFUSED
    assert host.access(begin, access) == (HIT, {})
    assert host.access(begin + PAGE - 1, access) == (HIT, {})
    assert host.access(begin + PAGE, access).ret == REFUSED


@pytest.mark.parametrize("kind", HARDWARE_KINDS)
@pytest.mark.parametrize(("access", "expected"), [(R, "4K RW A"), (W, "4K RW A M"), (X, "4K RW A")])
def test_hardware_sets_accessed_and_for_a_write_modified_in_the_leaf_alone(
    kind: Kind, access: int, expected: str
) -> None:
    host = mapped(kind, R)
    slot = host.find(host.va(3)).slot
    pmap = host.st.pmap[0]
    host.st.pt[slot] &= ~(pmap.PG_A | pmap.PG_M)
    before = host.st.pt.copy()
    assert host.leaf(host.va(3)) == "4K RW"
    assert host.access(host.va(3), access) == (HIT, {})
    assert host.leaf(host.va(3)) == expected
    assert np.flatnonzero(host.st.pt != before).tolist() == [slot]


@pytest.mark.parametrize("kind", EMULATED_KINDS)
@pytest.mark.parametrize("access", [R, W, X])
def test_without_accessed_bits_hardware_writes_to_no_entry(kind: Kind, access: int) -> None:
    host = mapped(kind)
    before = host.st.pt.copy()
    assert host.access(host.va(3), access) == (HIT, {})
    assert (host.st.pt == before).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_read_only_mapping_refuses_writes_and_stays_as_it_was(kind: Kind) -> None:
    host = mapped(kind, R, RX)
    before = host.st.pt.copy()
    assert host.access(host.va(3), W) == (REFUSED, {"traps": 1})
    assert host.access(host.va(3), R) == (HIT, {})
    assert host.access(host.va(3), X) == (HIT, {})
    assert (host.st.pt == before).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize("access", [R, W, X])
def test_every_level_must_grant_the_right(kind: Kind, level: int, access: int) -> None:
    names = {R: "PG_READ", W: "PG_WRITE", X: "PG_FETCH"}
    host = mapped(kind)
    slot = host.slot(host.va(3), level)
    entry = host.st.pt[slot]
    for bit in range(3):
        mask = np.uint64(1 << bit)
        if host.st.pmap[0][names[access]] & mask:
            host.st.pt[slot] = entry & ~mask
            # Software would put back what it emulates: look at the hardware's answer alone.
            host.st.pmap[0].pm_emulate_ad_bits = 0
            assert host.access(host.va(3), access) == (REFUSED, {"traps": 1})
            host.st.pt[slot] = entry
            assert host.access(host.va(3), access) == (HIT, {})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_no_execute_counts_at_every_level_of_x86_and_at_none_of_ept(kind: Kind, level: int) -> None:
    host = mapped(kind)
    host.st.pt[host.slot(host.va(3), level)] |= NX
    assert host.access(host.va(3), X).ret == (REFUSED if kind is X86 else HIT)
    assert host.access(host.va(3), W).ret == HIT


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize(("prot", "fetch"), [(ALL, True), (RW, False)])
def test_a_superpage_answers_for_all_of_its_2_mb(kind: Kind, prot: int, *, fetch: bool) -> None:
    host = Host(kind)
    host.enter_run(host.va(512), 512, 512, W, prot)
    assert host.leaf(host.va(512)).startswith("2M RW A M")
    for va in (SUPER, SUPER + 7 * PAGE + 5, 2 * SUPER - 1):
        assert host.access(va, R) == (HIT, {})
        assert host.access(va, W) == (HIT, {})
        assert host.access(va, X).ret == (HIT if fetch or kind is not X86 else REFUSED)
    assert host.access(SUPER - 1, R).ret == REFUSED
    assert host.access(2 * SUPER, R).ret == REFUSED


def test_x86_needs_the_user_bit() -> None:
    host = mapped(X86)
    for level in (1, 2, 3, 4):
        slot = host.slot(host.va(3), level)
        host.st.pt[slot] &= ~np.uint64(4)
        assert [host.access(host.va(3), access).ret for access in (R, W, X)] == [REFUSED] * 3
        host.st.pt[slot] |= np.uint64(4)
    assert [host.access(host.va(3), access).ret for access in (R, W, X)] == [HIT] * 3


@pytest.mark.parametrize("kind", EMULATED_KINDS)
def test_an_execute_only_entry_takes_fetches_and_refuses_the_rest(kind: Kind) -> None:
    host = Host(kind)
    host.alloc(3)
    host.enter_quick(host.va(3), 3)
    assert host.leaf(host.va(3)) == "4K"
    assert host.find(host.va(3)).raw & 7 == 4
    assert host.access(host.va(3), X) == (HIT, {})
    assert host.leaf(host.va(3)) == "4K"
    assert host.access(host.va(3), W) == (REFUSED, {"traps": 1})
