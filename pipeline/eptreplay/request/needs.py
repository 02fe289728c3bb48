"""What options of `replay` need beside them to have an effect.

A request is any object with the options of `replay` as attributes: what it is knows these, and not the other way round.
"""

from __future__ import annotations

from typing import Any

from eptreplay.request.choices import Policy
from eptreplay.request.host import Placement, VcpuModel
from eptreplay.request.option import Needs

HOST_OPTIONS = ("host_memory", "placement", "scan_interval", "fragmentation", "align", "vcpus")
"""Options that put all guests on one host."""

SWEEPS = Needs[Any](
    "--policy age or --policy harvest: nothing else sweeps",
    lambda request: request.policy is not Policy.PLAIN,
)
OWN_HOSTS = Needs[Any](
    "guests on hosts of their own, so leave out --host-memory, --placement, --scan-interval, --fragmentation, "
    "--align and --vcpus",
    lambda request: not request.given_of_host(),
)
SHARED_HOST = Needs[Any](
    "a host that guests share: give --host-memory, or another option of the host, too",
    lambda request: bool(request.given_of_host()),
)
NO_RELEASE_NAMED = Needs[Any](
    "a profile that names no release of its own",
    lambda request: not all("@" in spec for spec in request.profile),
)
TLB = Needs[Any]("--tlb", lambda request: request.tlb)
RESERVATIONS = Needs[Any](
    "2 MB reservations, so leave out --placement identity",
    lambda request: request.placement is not Placement.IDENTITY,
)
SHARED_RESERVATIONS = Needs[Any](
    "a host that guests share, with 2 MB reservations: give --host-memory or --placement reservation",
    lambda request: bool(request.given_of_host()) and request.placement is not Placement.IDENTITY,
)
LIMITED_MEMORY = Needs[Any](
    "--host-memory: nothing is swapped where memory is enough",
    lambda request: request.host_memory is not None,
)
ACTIVITY = Needs[Any](
    "--vcpus activity: otherwise no vCPU is taken to halt",
    lambda request: request.vcpus is VcpuModel.ACTIVITY,
)
