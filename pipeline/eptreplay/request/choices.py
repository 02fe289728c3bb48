"""The values that options may have."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

OnBadRows = Literal["fail", "skip"]
"""What to do at a row that breaks a rule: end with an error, or skip and count it."""


class Policy(StrEnum):
    """What the host does to the guest's memory at every sweep."""

    PLAIN = "plain"
    AGE = "age"
    HARVEST = "harvest"


class ReleaseName(StrEnum):
    """The FreeBSD releases whose rules are modelled (profiles/facts.py has what they are)."""

    FREEBSD_10_0 = "10.0"
    FREEBSD_14_0 = "14.0"
    FREEBSD_14_LATER = "14-later"


class MissRatio(StrEnum):
    """How the miss-ratio curve is found."""

    INTERVALS = "intervals"
    SHARDS = "shards"
    EXACT = "exact"
