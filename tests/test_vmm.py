"""vCPUs by hand: who is interrupted, who flushes, and who is spared."""

from __future__ import annotations

from tests.small_host import READ, WRITE, SmallHost

from eptreplay.model.pmap.invalidate import CAUSE_AGING, CAUSE_FAULT, CAUSE_UNMAP, CAUSE_WIRING
from eptreplay.model.vm import answers as event
from eptreplay.model.vm import vm_map
from eptreplay.model.vm.vm_wire import vm_map_wire


def two_vcpus(profile: str = "ept-ad") -> SmallHost:
    """Return a guest of two vCPUs, vCPU 0 running and vCPU 1 halted, that has used four pages."""
    host = SmallHost(profile, guests=(64,), vcpus=2)
    assert host.run(0)
    host.access(WRITE, range(4))
    return host


def unmap(host: SmallHost, page: int, guest: int = 0) -> None:
    assert vm_map.vm_map_delete(host.replay.states, guest, host.bases[guest] + page, 1) == event.OK


def invepts(host: SmallHost) -> int:
    return int(host.replay.states.cnt["invepts"][0, 0].sum())


def test_a_running_vcpu_is_interrupted_and_a_halted_one_flushes_when_it_enters() -> None:
    host = two_vcpus()
    unmap(host, 0)
    assert (host.count("ipis"), host.by_cause("ipis_saved", CAUSE_UNMAP)) == (1, 1)
    assert invepts(host) == 1  # the running one's, as it comes back
    assert host.run(1)
    assert host.count("ipis") == 1
    assert invepts(host) == 2  # the other one's, at its entry


def test_two_invalidations_before_an_entry_cost_one_flush() -> None:
    host = two_vcpus()
    host.stop(0)
    unmap(host, 0)
    unmap(host, 1)
    assert int(host.replay.states.pmap["pm_eptgen"][0, 0]) == 2
    assert (host.count("ipis"), invepts(host)) == (0, 0)
    assert host.run(0)
    assert invepts(host) == 1
    host.stop(0)
    assert host.run(0)  # nothing happened in between
    assert invepts(host) == 1


def test_another_host_cpu_has_seen_nothing_yet() -> None:
    host = two_vcpus()
    unmap(host, 0)
    before = invepts(host)
    assert host.run(0, hostcpu=7)  # moves from CPU 0, which was up to date
    assert invepts(host) == before + 1
    assert host.run(0, hostcpu=0)
    assert invepts(host) == before + 1


def test_a_vcpu_never_interrupts_itself_and_flushes_after_its_own_fault() -> None:
    host = SmallHost("ept-emul", guests=(512,), vcpus=2)
    host.run(0)
    host.run(1)
    host.access(READ, range(512))  # a superpage without the right to write
    assert host.count("promotions") == 1
    before = host.count("ipis"), invepts(host)
    # A write demotes it: that takes no invalidation.  Replacing the read-only entry of the page takes one.
    host.access(WRITE, [5], vcpu=0)
    generations = int(host.replay.states.pmap["pm_eptgen"][0, 0])
    assert host.by_cause("ipis_by_cause", CAUSE_FAULT) == generations
    assert host.count("ipis") - before[0] == generations  # only the other vCPU
    assert invepts(host) - before[1] == 2 * generations  # that one, and the faulting one as it enters again


def test_work_of_the_host_interrupts_all_that_run() -> None:
    host = SmallHost("ept-ad", guests=(64,), vcpus=3)
    for vcpu in range(3):
        host.run(vcpu)
    host.access(WRITE, range(4))
    host.scan()
    assert host.by_cause("invalidations", CAUSE_AGING) == 4
    assert host.by_cause("ipis_by_cause", CAUSE_AGING) == 4 * 3
    host.stop(2)
    host.access(WRITE, range(4))
    host.scan()
    assert host.by_cause("ipis_by_cause", CAUSE_AGING) == 4 * 3 + 4 * 2
    assert host.by_cause("ipis_saved", CAUSE_AGING) == 4


def test_without_word_of_them_all_vcpus_count_as_running_for_good() -> None:
    host = SmallHost("ept-ad", guests=(64,), vcpus=2)
    host.access(WRITE, range(4))
    unmap(host, 0)
    assert host.count("ipis") == 2


def test_a_host_cpu_runs_one_vcpu_of_a_guest_at_a_time() -> None:
    host = SmallHost("ept-ad", guests=(64, 64), vcpus=2)
    assert host.run(0, hostcpu=3)
    assert not host.run(1, hostcpu=3)
    assert host.run(0, hostcpu=3, guest=1)
    assert not host.stop(1)


def test_wiring_wakes_nobody() -> None:
    host = two_vcpus()
    assert vm_map_wire(host.replay.states, 0, 2, 1) == event.OK
    assert host.by_cause("invalidations", CAUSE_WIRING) == 0
