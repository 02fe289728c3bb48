"""Devices that are passed through to a guest, and their BARs."""

from __future__ import annotations

from typing import NamedTuple


class Bar(NamedTuple):
    """A stretch of guest-physical addresses that reaches a device: first byte and length."""

    gpa: int
    bytes: int


class Device(NamedTuple):
    """A device passed through to the guest."""

    name: str
    bars: tuple[Bar, ...]
