from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.model.harness import (
    EPT_AD,
    EPT_EMUL_XO,
    KINDS,
    PAGE,
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

from eptreplay.model.recorded.codes import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

VA = 3 * PAGE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cpus", "running"), [(0, 0), (1, 1), (0b1011, 3), ((1 << 32) - 1, 32)])
def test_an_invalidation_interrupts_each_cpu_that_runs_in_the_address_space(
    kind: Kind, cpus: int, running: int
) -> None:
    host = Host(kind)
    assert host.set_active(cpus) == (0, {})
    host.enter(VA, 3)
    host.enter(VA + PAGE, 4)
    interrupts = {"x86_ipis": running} if kind is X86 else {"ipis": running, "eptgen": 1}
    interrupts = {name: value for name, value in interrupts.items() if value}
    assert host.remove(VA, 1).changed == {"inv_page": 1, "resident": -1} | interrupts
    assert host.run(Operation.REMOVE_PAGES, 0).changed == {"inv_all": 1, "resident": -4} | interrupts


def test_only_the_pmap_that_changed_is_invalidated() -> None:
    host = Host(EPT_AD, EPT_AD)
    host.set_active(0b11, pm=0)
    host.set_active(0b11111, pm=1)
    for pm in (0, 1):
        host.enter(VA, 3, pm=pm)
    assert host.remove(VA, 1, pm=1).changed == {"inv_page": 1, "resident1": -4, "eptgen1": 1, "ipis": 5}
    assert host.remove(VA, 1, pm=0).changed == {"inv_page": 1, "resident": -4, "eptgen": 1, "ipis": 2}


def test_a_page_in_two_pmaps_invalidates_each_with_its_own_cpus() -> None:
    host = Host(EPT_AD, X86)
    host.set_active(0b11, pm=0)
    host.set_active(0b111, pm=1)
    for pm in (0, 1):
        host.enter(VA, 3, pm=pm)
    changed = host.page_op(Operation.REMOVE_ALL, 3).changed
    assert changed == {
        "inv_page": 2, "eptgen": 1, "ipis": 2, "x86_ipis": 3, "resident": -4, "resident1": -4,
    }  # fmt: skip


QUIET: dict[str, Callable[[Host], object]] = {
    "enter what was not mapped": lambda host: host.enter(600 * PAGE, 600),
    "enter the same again": lambda host: host.enter(host.va(5), 5, R, RX),
    "gain the right to write": lambda host: host.enter(host.va(5), 5, R),
    "promote": lambda host: host.fill(1, R),
    "demote": lambda host: host.change_wiring(host.va(5), wired=True),
    "enter quickly": lambda host: host.enter_quick(700 * PAGE, 5),
    "enter an object": lambda host: host.enter_object(4 * SUPER, 0, 512),
    "read": lambda host: host.access(host.va(5), R),
    "fetch": lambda host: host.access(host.va(5), X),
    "write through vm_fault": lambda host: host.access_fault(host.va(5), W),
    "ask": lambda host: host.page_op(Operation.IS_MODIFIED, 5),
    "allocate": lambda host: host.alloc(600),
    "undirty": lambda host: host.page_op(Operation.UNDIRTY, 5),
}


@pytest.mark.parametrize("kind", WITH_SUPERPAGES)
@pytest.mark.parametrize("name", QUIET)
def test_what_only_adds_rights_or_changes_the_page_size_invalidates_nothing(kind: Kind, name: str) -> None:
    host = Host(kind)
    host.set_active(0b111)
    host.enter_run(0, 0, 512, R, RX)
    before = host.counters()
    assert host.leaf(0) == "2M A"
    QUIET[name](host)
    after = host.counters()
    loud = ("eptgen", "ipis", "x86_ipis", "inv_page", "inv_range", "inv_all")
    assert {key: after[key] for key in loud} == {key: before[key] for key in loud}


def test_no_range_is_ever_invalidated_as_such() -> None:
    host = Host(EPT_AD, EPT_EMUL_XO)
    for pm in (0, 1):
        host.fill(0, W, pm=pm)
        host.protect(host.va(5, pm), 100, R, pm=pm)
        host.advise(host.va(5, pm), 100, 4, pm=pm)
        host.remove(host.va(5, pm), 100, pm=pm)
    counters = host.counters()
    assert counters["inv_range"] == 0
    assert counters["inv_all"] == 5
    assert counters["eptgen"] + counters["eptgen1"] == counters["inv_page"] + counters["inv_all"]
