"""A made-up guest as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal


class Pattern(StrEnum):
    """Which addresses accesses have."""

    ZIPF = "zipf"
    UNIFORM = "uniform"
    SEQUENTIAL = "sequential"
    STRIDED = "strided"


class By(StrEnum):
    """Who accesses."""

    VCPU = "vcpu"
    HOST = "host"
    DMA = "dma"


LINE_BYTES = 64
"""Stride of a sequential pattern: a cache line."""


@dataclass(frozen=True, slots=True)
class Access:
    """A part of a phase's accesses.

    Args:
        pattern: which addresses they have.
        by: who makes them.
        weight: how many they are, in proportion to the others of the phase.
        begin: first byte of the memory they go to, a multiple of 4096, from the beginning of memory.
        bytes: of this memory, a multiple of 4096.
        skew: of a zipf pattern: the page of rank r is accessed in proportion to 1 / r ** skew.
        stride: bytes from one access to the next, of a strided or sequential pattern.
        drift: bytes that this memory moves up in a million accesses; at the end of memory it goes on at its beginning.
        write_share: of these accesses, how many write.
        fetch_share: how many fetch instructions; the rest reads.
    """

    pattern: Pattern
    by: By
    weight: Decimal
    begin: int
    bytes: int
    skew: Decimal
    stride: int
    drift: int
    write_share: Decimal
    fetch_share: Decimal


@dataclass(frozen=True, slots=True)
class Phase:
    """Accesses of one kind of work.

    Args:
        weight: how many they are, in proportion to those of the other phases.
        gap_ns: mean time between two accesses.
        idle_ns: time without accesses after them.
        vcpus: which vCPUs work.
        accesses: their parts.
    """

    weight: Decimal
    gap_ns: int
    idle_ns: int
    vcpus: tuple[int, ...]
    accesses: tuple[Access, ...]


@dataclass(frozen=True, slots=True)
class Turns:
    """vCPUs that take turns on host CPUs; the trace has an event whenever one begins or ceases to run.

    Args:
        host_cpus: how many vCPUs run at a time.
        slice_ns: for how long.
    """

    host_cpus: int
    slice_ns: int


@dataclass(frozen=True, slots=True)
class Guest:
    """A made-up guest.

    Args:
        seed: the same seed and the rest make the same rows.
        rows: accesses.
        memory: bytes, a multiple of 4096.
        vcpus: virtual CPUs.
        access_bytes: bytes that addresses are aligned to, a power of two up to 4096.
        burst: accesses of one vCPU in a row.
        repeat: how often the phases follow each other.
        turns: None: all vCPUs run all the time, and nothing is said of it.
        phases: in order.
    """

    seed: int
    rows: int
    memory: int
    vcpus: int
    access_bytes: int
    burst: int
    repeat: int
    turns: Turns | None
    phases: tuple[Phase, ...]

    def has_dma(self) -> bool:
        """Return whether a passthrough device accesses its memory."""
        return any(access.by is By.DMA for phase in self.phases for access in phase.accesses)

    def has_events(self) -> bool:
        """Return whether there are rows with an argument."""
        return self.turns is not None or self.has_dma()
