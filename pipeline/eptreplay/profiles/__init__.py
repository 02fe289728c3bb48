"""CPU feature profiles: which pmap bhyve builds on a CPU, and how well the facts behind it are known.

The facts are data, in profiles.toml. This package turns them into a pmap type and flags by the rules of bhyve's
start-up code, lets a user override each of them, and decodes IA32_VMX_EPT_VPID_CAP, the register those rules
read. It prints nothing and loads the data on first use: importing it must cost next to nothing.
"""

from __future__ import annotations

from eptreplay.profiles.costs import CostParameter, cost_parameters
from eptreplay.profiles.data import sources, status_meanings
from eptreplay.profiles.describe import OVERVIEW_HEADER, describe, overview_rows
from eptreplay.profiles.facts import (
    Capability,
    EptVpidCap,
    Fact,
    PmapFlags,
    PmapType,
    Profile,
    Source,
    Status,
    TlbGeometry,
)
from eptreplay.profiles.naming import available, names, resolve
from eptreplay.profiles.register import describe_ept_vpid_cap, from_ept_vpid_cap, parse_ept_vpid_cap
from eptreplay.profiles.releases import SUPERPAGES_OF, superpages_note
from eptreplay.profiles.rules import refusals

__all__ = [
    "OVERVIEW_HEADER",
    "SUPERPAGES_OF",
    "Capability",
    "CostParameter",
    "EptVpidCap",
    "Fact",
    "PmapFlags",
    "PmapType",
    "Profile",
    "Source",
    "Status",
    "TlbGeometry",
    "available",
    "cost_parameters",
    "describe",
    "describe_ept_vpid_cap",
    "from_ept_vpid_cap",
    "names",
    "overview_rows",
    "parse_ept_vpid_cap",
    "refusals",
    "resolve",
    "sources",
    "status_meanings",
    "superpages_note",
]
