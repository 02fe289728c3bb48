"""The TLBs of the model, from the facts of a profile about the TLBs of its CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from eptreplay.model.cpu.tlb import KINDS, LARGE, LEVELS, NO_UNIT, SIZES, SMALL, UNITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eptreplay.profiles import Fact, TlbGeometry

MOST_WAYS_ASSUMED = 16
"""Where the associativity is not published, there are as many sets as leave from 8 to this many ways."""

# By kind of access (load, store, fetch) and page size (4 KB, 2 MB): the names that profiles.toml may have for the TLB that
# serves them; the first of them that a profile has is taken.
_FIRST = (
    (("l1d_4k", "l1d_load_4k", "l1d_all"), ("l1d_2m", "l1d_load_2m", "l1d_all")),
    (("l1d_4k", "l1d_store", "l1d_all"), ("l1d_2m", "l1d_store", "l1d_all")),
    (("l1i_4k", "l1i_all"), ("l1i_2m", "l1i_all")),
)
_SECOND = (
    (("stlb", "stlb_4k_2m", "l2d"), ("stlb", "stlb_4k_2m", "l2d_2m", "l2d")),
    (("stlb", "stlb_4k_2m", "l2d"), ("stlb", "stlb_4k_2m", "l2d_2m", "l2d")),
    (("stlb", "stlb_4k_2m", "l2i"), ("stlb", "stlb_4k_2m", "l2i")),
)
_SIZE_NAMES = {SMALL: "4K", LARGE: "2M"}


class HasTlbs(Protocol):
    """The part of a profile that says what its TLBs are."""

    @property
    def tlb(self) -> Mapping[str, Fact[TlbGeometry | None]]:
        """Facts about TLBs by name."""


def tlb_shapes(profiles: Sequence[HasTlbs], stand_in: HasTlbs) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return what model.cpu.tlb.new_tlbs takes: the units of every profile, and which of them serves what.

    Args:
        profiles: one per instance.
        stand_in: the profile whose TLBs are taken for one without facts about its own.
    """
    units = np.zeros((len(profiles), UNITS, 2), np.int64)
    route = np.full((len(profiles), KINDS, SIZES, LEVELS), NO_UNIT, np.int32)
    for number, profile in enumerate(profiles):
        facts = profile.tlb or stand_in.tlb
        numbers: dict[str, int] = {}
        for kind in range(KINDS):
            for size in range(SIZES):
                for level, names in enumerate((_FIRST[kind][size], _SECOND[kind][size])):
                    name = _serving(facts, names, _SIZE_NAMES[size])
                    if name is not None:
                        unit = numbers.setdefault(name, len(numbers))
                        units[number, unit] = sets_and_ways(_geometry(facts, name))
                        route[number, kind, size, level] = unit
    return units, route


def _geometry(facts: Mapping[str, Fact[TlbGeometry | None]], name: str) -> TlbGeometry:
    geometry = facts[name].value
    if geometry is None:
        raise LookupError(name)
    return geometry


def _serving(facts: Mapping[str, Fact[TlbGeometry | None]], names: Sequence[str], size: str) -> str | None:
    """Return the first of several TLBs that exists and holds pages of a size; one without known sizes holds 4 KB pages."""
    for name in names:
        geometry = facts[name].value if name in facts else None
        if geometry is not None and geometry.entries and size in (geometry.page_sizes or ("4K",)):
            return name
    return None


def sets_and_ways(geometry: TlbGeometry) -> tuple[int, int]:
    """Return the sets, a power of two, and the ways of a TLB.

    Where the ways are not published, or do not leave a power of two of sets, the sets are the greatest power of two
    that divides the entries and leaves at least 8 ways.
    """
    entries = geometry.entries
    if geometry.ways == "full":
        return 1, entries
    if geometry.ways is not None and entries % geometry.ways == 0:
        sets = entries // geometry.ways
        if sets & (sets - 1) == 0:
            return sets, geometry.ways
    sets = 1
    while entries % (2 * sets) == 0 and entries // (2 * sets) >= MOST_WAYS_ASSUMED // 2:
        sets *= 2
    return sets, entries // sets
