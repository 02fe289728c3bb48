"""Choices that several options offer."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

OnBadRows = Literal["fail", "skip"]
"""What is done about a row that breaks a rule: end with an error, or leave it out and count it."""


class Policy(StrEnum):
    """What the host does to the guest's memory at every sweep."""

    PLAIN = "plain"
    AGE = "age"
    HARVEST = "harvest"


class MissRatio(StrEnum):
    """How the miss-ratio curve is found."""

    INTERVALS = "intervals"
    SHARDS = "shards"
    EXACT = "exact"
