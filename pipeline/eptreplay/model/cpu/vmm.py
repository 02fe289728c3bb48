"""vCPUs on host CPUs: which are in the guest, which have to be interrupted, and which flush their translations on entry.

A vCPU that runs is in `pm_active`, except while an EPT violation of its own is handled.  Every host CPU remembers for each
guest the generation (`pm_eptgen`) that it saw last.  On entry to a guest it compares the two, and flushes (INVEPT) if there is
a newer generation.  A CPU that is in the guest is always up to date: every new generation comes with an IPI, which makes the
CPU leave the guest and enter it again at once.

As long as no event says when vCPUs run (`GUEST.tracked`), all of them count as being in the guest all the time.

Source: vmm.c vm_run, vm_handle_paging; vmx.c vmx_run, vmx_support.S (pm_active, eptgen), FreeBSD 10.0.
"""

from __future__ import annotations

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.types import Int, Record
from eptreplay.model.state.state import State, account, instance, instances_in

NOT_RUNNING = -1


@entry_point
def vcpu_run(states: State, guest: Int, vcpu: Int, hostcpu: Int) -> bool:
    """Let a vCPU (a flat number) run on a host CPU, in every instance; return whether that CPU was free for it."""
    if instance(states, 0).guests[guest].tracked == 0:
        _begin_tracking(states, guest)
    known = instance(states, 0).guests[guest]
    for other in range(known.first_vcpu, known.first_vcpu + known.vcpus):
        taken = (
            instance(states, 0).vcpu[other].running != 0
            and instance(states, 0).vcpu[other].hostcpu == hostcpu
        )
        if other != vcpu and taken:
            return False
    for number in range(instances_in(states)):
        st = instance(states, number)
        _stop(st, guest, vcpu)
        st.vcpu[vcpu].running = 1
        st.vcpu[vcpu].hostcpu = hostcpu
        st.pmap[guest].pm_active += 1
        _enter(st, guest, st.guests[guest].eptgen[hostcpu])
    return True


@entry_point
def vcpu_stop(states: State, guest: Int, vcpu: Int) -> bool:
    """Take a vCPU (a flat number) off its host CPU, in every instance; return whether it ran."""
    if instance(states, 0).guests[guest].tracked == 0:
        _begin_tracking(states, guest)
    ran = instance(states, 0).vcpu[vcpu].running != 0
    for number in range(instances_in(states)):
        _stop(instance(states, number), guest, vcpu)
    return ran


@kernel
def _begin_tracking(states: State, guest: Int) -> None:
    """Begin to track when the vCPUs of a guest run: from now on none of them does unless an event says so."""
    for number in range(instances_in(states)):
        st = instance(states, number)
        st.guests[guest].tracked = 1
        st.pmap[guest].pm_active = 0


@kernel
def _stop(st: State, guest: Int, vcpu: Int) -> None:
    """Take a vCPU off its host CPU, if it runs; that CPU has seen every generation so far."""
    if st.vcpu[vcpu].running != 0:
        st.vcpu[vcpu].running = 0
        st.pmap[guest].pm_active -= 1
        st.guests[guest].eptgen[st.vcpu[vcpu].hostcpu] = st.pmap[guest].pm_eptgen


@kernel
def _enter(st: State, guest: Int, seen: Int) -> None:
    """Enter a guest on a CPU that saw generation `seen` last."""
    pmap = st.pmap[guest]
    if pmap.pm_eptgen != seen:
        st.cnt[guest].invepts[pmap.pm_cause] += 1


@kernel
def vm_exit(st: State, pmap: Record) -> Int:
    """Leave the guest to handle an EPT violation (VM exit); return the generation that the CPU has seen, for vm_enter."""
    if st.guests[st.host[0].guest].tracked == 0 or st.vcpu[st.host[0].vcpu].running == 0:
        return NOT_RUNNING
    pmap.pm_active -= 1
    return pmap.pm_eptgen


@kernel
def vm_enter(st: State, pmap: Record, seen: Int) -> None:
    """Enter the guest again after an EPT violation was handled (VM entry)."""
    if seen != NOT_RUNNING:
        pmap.pm_active += 1
        if pmap.pm_eptgen != seen:
            account(st).invepts[pmap.pm_cause] += 1
