"""CPU feature profiles: which pmap bhyve builds on a CPU, and how well the facts behind it are known.

The facts are data, in profiles.toml. This package turns them into a pmap type and flags by the rules of bhyve's
start-up code, lets a user override each of them, and decodes IA32_VMX_EPT_VPID_CAP, the register those rules
read. It prints nothing and loads the data on first use: importing it must cost next to nothing.
"""

from __future__ import annotations

from eptreplay.profiles.costs import CostParameter, cost_parameters
from eptreplay.profiles.data import sources, status_meanings
from eptreplay.profiles.describe import OVERVIEW_HEADER, describe, described, overview_rows
from eptreplay.profiles.facts import (
    Capability,
    EptVpidCap,
    Fact,
    PmapFlags,
    PmapType,
    Profile,
    Release,
    Source,
    Status,
    TlbGeometry,
)
from eptreplay.profiles.naming import available, names, names_release, release_labels, resolve, under
from eptreplay.profiles.register import (
    describe_arch_capabilities,
    describe_ept_vpid_cap,
    from_ept_vpid_cap,
    parse_arch_capabilities,
    parse_ept_vpid_cap,
)
from eptreplay.profiles.releases import (
    DAEMON_OF,
    FORBIDDEN,
    SUPERPAGES_OF,
    daemon_note,
    is_later,
    release_label,
    superpages_note,
)
from eptreplay.profiles.rules import refusals

__all__ = [
    "DAEMON_OF",
    "FORBIDDEN",
    "OVERVIEW_HEADER",
    "SUPERPAGES_OF",
    "Capability",
    "CostParameter",
    "EptVpidCap",
    "Fact",
    "PmapFlags",
    "PmapType",
    "Profile",
    "Release",
    "Source",
    "Status",
    "TlbGeometry",
    "available",
    "cost_parameters",
    "daemon_note",
    "describe",
    "describe_arch_capabilities",
    "describe_ept_vpid_cap",
    "described",
    "from_ept_vpid_cap",
    "is_later",
    "names",
    "names_release",
    "overview_rows",
    "parse_arch_capabilities",
    "parse_ept_vpid_cap",
    "refusals",
    "release_label",
    "release_labels",
    "resolve",
    "sources",
    "status_meanings",
    "superpages_note",
    "under",
]
