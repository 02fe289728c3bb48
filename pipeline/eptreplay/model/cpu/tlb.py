"""TLBs: which accesses need no page walk, and what a walk costs where the tables are nested.

Every vCPU has a host CPU of its own, and with it the TLBs of that CPU: first-level ones for data and for
instructions, by page size, and a second level behind them.  An entry holds a translation from guest-physical
page to host page, tagged by its guest.  The entries of a set are kept in order of use, the last used first; the least recently
used one is evicted.

* A translation has the smaller of the page sizes of guest and host.  A trace of guest-physical addresses does not tell
  the guest's page size; one is assumed for all pages (`Tlbs.setting.guest_large`).
* While a translation is cached, an access of a kind that was made through it before needs no walk, so an accessed or dirty
  bit that was cleared in the tables meanwhile stays clear.  Invalidations flush the guest's translations from all
  CPUs: the IPI makes each leave the guest, and on entry it finds another generation and executes INVEPT.
* A nested walk refers to memory for every entry of the guest's tables, to translate the address of each of these,
  and to translate the address it ends at (walk_references).

Sources: SDM volume 3, 28.3 (caching of translations), 4.10 and 28.3.1 (paging-structure caches); Bhargava et al.,
"Accelerating two-dimensional page walks for virtualized systems", ASPLOS 2008, for the references of a walk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eptreplay.compiled import entry_point, kernel
from eptreplay.model._numba.arrays import Field, array, assembled, record_type, records, structure_of_arrays
from eptreplay.model._numba.lanes import ALL_LANES, LANES, move_up
from eptreplay.model._numba.types import Int, Record, Records
from eptreplay.model.pmap.ptp import NULL, pmap_pde
from eptreplay.model.state.pte import NO_BITS, PAGE_SHIFT, PG_PS
from eptreplay.model.state.rows import OP_READ
from eptreplay.model.state.state import State, instance

NPTEPG_SHIFT = np.uint64(9)

KINDS = 3  # read, write, fetch
SIZES = 2  # 4 KB, 2 MB: the second index of Tlbs.route
SMALL = 0
LARGE = 1
LEVELS = 2  # FIRST, SECOND: the third index of Tlbs.route
FIRST = 0
SECOND = 1
UNITS = KINDS * SIZES * LEVELS  # the most TLBs a CPU can have
NO_UNIT = -1
LINE_BYTES = 64  # of the caches of the CPU that the model runs on

# Bits of Tlbs.entry.
ONE = np.uint64(1)
NO_TRANSLATION = np.uint64(0)
USED = np.uint64(0b111)  # bits 0 to 2: the translation was read, written, fetched through
READS = np.uint64(0b011)  # with one of these set, the translation allows reads
SIZE_SHIFT = np.uint64(3)  # SMALL or LARGE
PAGE_KEY_SHIFT = np.uint64(4)  # 1 + number of the page, in pages of its size
GUEST_SHIFT = np.uint64(48)  # number of the guest

# Paging-structure caches: what the guest's upper tables say, by the range of addresses.
STRUCTURES = 3  # PDE, PDPTE and PML4E caches, nearest the leaf first
NO_STRUCTURE = 3  # nothing was cached: the second index of `walks`

# One TLB of a CPU.
# fmt: off
UNIT_FIELDS = (
    #     name        type       unit owner      meaning
    Field("first",    np.uint64, "", "cpu/tlb", "where its entries begin in Tlbs.entry"),
    Field("set_mask", np.uint64, "", "cpu/tlb", "sets - 1; sets are a power of two"),
    Field("ways",     np.uint64, "", "cpu/tlb", "entries of a set"),
    Field("step",     np.uint64, "", "cpu/tlb", "places of a set: groups of LANES, of which those beyond the ways stay NO_TRANSLATION"),
    Field("lanes",    np.uint64, "", "cpu/tlb", "a bit for each place of the first group that is one of the ways"),
)
# fmt: on
UNIT = record_type(UNIT_FIELDS)

# The two TLBs that serve accesses of one kind by 4 KB translations, level by level: the fields of UNIT, arranged so that what a
# loop over rows needs of both is together.  Where there is no second level, it has one group, which stays NO_TRANSLATION.
# fmt: off
PATH_FIELDS = (
    #     name        type       unit owner      meaning
    Field("first",    np.uint64, "", "cpu/tlb", "see UNIT, likewise the others", (LEVELS,)),
    Field("set_mask", np.uint64, "", "cpu/tlb", "", (LEVELS,)),
    Field("ways",     np.uint64, "", "cpu/tlb", "", (LEVELS,)),
    Field("step",     np.uint64, "", "cpu/tlb", "", (LEVELS,)),
    Field("lanes",    np.uint64, "", "cpu/tlb", "", (LEVELS,)),
)
# fmt: on
PATH = record_type(PATH_FIELDS)

# fmt: off
TLB_COUNTERS_FIELDS = (
    #     name             type      unit      owner                    meaning
    Field("first_misses",  np.int64, "events", "cpu/translation",       "accesses whose translation was not in the first level", (KINDS,)),
    Field("misses",        np.int64, "events", "cpu/translation",       "of these, not in the second level either: walks", (KINDS,)),
    Field("walks",         np.int64, "events", "cpu/translation",       "walks by page size of the host and structure cached", (SIZES, STRUCTURES + 1)),
    Field("dirty_walks",   np.int64, "events", "access_loop/slow_path", "walks for a cached translation whose dirty bit was still clear"),
    Field("stale",         np.int64, "events", "access_loop/slow_path", "accesses whose accessed or dirty bit stayed clear since the translation was cached"),
    Field("flushes",       np.int64, "events", "cpu/tlb",               "times that all translations of a guest were flushed, in all CPUs at once"),
    Field("invepts",       np.int64, "events", "cpu/tlb",               "INVEPT instructions: one per CPU and invalidation"),
    Field("invalidations", np.int64, "events", "cpu/tlb",               "invalidations of the pmap that the TLBs have followed"),
)
# fmt: on
TLB_COUNTERS = record_type(TLB_COUNTERS_FIELDS)

# fmt: off
SETTING_FIELDS = (
    #     name           type      unit    owner                                    meaning
    Field("guest_large", np.int64, "flag", "cpu/tlb",                               "1: the guest's pages are taken to have 2 MB, 0: 4 KB"),
    Field("structures",  np.int64, "",     "cpu/tlb",                               "entries of each paging-structure cache; 0: there is none"),
    Field("done",        np.int64, "",     "access_loop/fast_path cpu/translation", "the row up to which translations have been made"),
)
# fmt: on
SETTING = record_type(SETTING_FIELDS)


# fmt: off
@structure_of_arrays
class Tlbs:
    """The TLBs of all CPUs in all instances; no instances: TLBs are not modelled."""

    unit: Records = array(UNIT, "instances", "units", meaning="the TLBs of a CPU")
    route: NDArray[np.int32] = array(
        np.int32, "instances", "kinds", "sizes", "levels", unit="unit", owner="cpu/tlb",
        meaning="the unit that serves, NO_UNIT: none",
    )
    entry: NDArray[np.uint64] = array(
        np.uint64, "instances", "vcpus", "entries", unit="flags", owner="cpu/tlb", meaning="see USED and after; 0: empty"
    )
    structure: NDArray[np.uint64] = array(
        np.uint64, "instances", "vcpus", "structures", "structure_entries", unit="number + 1", owner="cpu/tlb",
        meaning="1 + number of the range; 0: empty",
    )
    path: Records = array(PATH, "instances", "kinds", meaning="the two TLBs that serve 4 KB translations")
    counters: Records = array(TLB_COUNTERS, "instances", "one", meaning="what they cost")
    setting: Records = array(SETTING, "one", meaning="how they are modelled")
    places: NDArray[np.int64]
# fmt: on


def new_tlbs(
    units: NDArray[np.int64],
    route: NDArray[np.int32],
    vcpus: int,
    *,
    guest_large: bool = False,
    structures: int = 0,
) -> Tlbs:
    """Return empty TLBs.

    Args:
        units: shape [instances, UNITS, 2]: sets and ways of each; 0 and 0 for one that is not there.
        route: shape [instances, KINDS, SIZES, LEVELS]: the unit that serves; NO_UNIT for none.
        vcpus: virtual CPUs.
        guest_large: whether the guest's pages are taken to have 2 MB, instead of 4 KB.
        structures: entries of each paging-structure cache; 0 for none.
    """
    instances = len(units)
    unit = records((instances, UNITS), UNIT)
    sets, ways = units[:, :, 0], units[:, :, 1]
    steps = -(-ways // LANES) * LANES
    sizes = sets * steps
    ends = sizes.sum(axis=1)
    unit["first"] = np.cumsum(sizes, axis=1) - sizes
    unit["set_mask"] = np.maximum(sets - 1, 0)
    unit["ways"] = ways
    unit["step"] = steps
    unit["lanes"] = (1 << np.minimum(ways, LANES)) - 1
    setting = records(1, SETTING)
    setting.guest_large = guest_large
    setting.structures = structures
    arrays: dict[str, Any] = {
        "unit": unit,
        "route": route,
        "entry": _zeros_by_line((instances, vcpus, int(ends.max(initial=0)) + LANES)),
        "structure": np.zeros((instances, vcpus, STRUCTURES, max(1, structures)), np.uint64),
        "path": _paths(unit, route, ends),
        "counters": records((instances, 1), TLB_COUNTERS),
        "setting": setting,
    }
    return assembled(Tlbs, arrays)


def no_tlbs() -> Tlbs:
    """Return what stands for TLBs where they are not modelled."""
    return new_tlbs(np.zeros((0, UNITS, 2), np.int64), np.zeros((0, KINDS, SIZES, LEVELS), np.int32), vcpus=1)


def _paths(unit: Records, route: NDArray[np.int32], nowhere: NDArray[np.int64]) -> Records:
    """Return PATH [instances, KINDS]; `nowhere`, shape [instances], is where a group begins that stays NO_TRANSLATION."""
    path = records((len(unit), KINDS), PATH)
    path.first = nowhere[:, None, None]
    path.step = LANES
    for number, kind, level in np.argwhere(route[:, :, SMALL] != NO_UNIT):
        serving = unit[number, route[number, kind, SMALL, level]]
        for name in PATH.names or ():
            path[number, kind][name][level] = serving[name]
    return path


def _zeros_by_line(shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """Return zeroed words that begin with a cache line, so that no group of entries lies in two of them."""
    size = int(np.prod(shape)) * np.dtype(np.uint64).itemsize
    memory = np.zeros(size + LINE_BYTES, np.uint8)
    begin = -memory.ctypes.data % LINE_BYTES
    return memory[begin : begin + size].view(np.uint64).reshape(shape)


@kernel
def touch(entries: NDArray[np.uint64], unit: Record, page: np.uint64, key: np.uint64) -> bool:
    """Look for a translation in one TLB, and put it first in its set in any case; return whether it was there.

    Args:
        entries: those of the CPU.
        unit: the TLB.
        page: number of the page, in pages of its size.
        key: the entry looked for, with the bit of USED that the access sets.
    """
    at = unit.first + (page & unit.set_mask) * unit.step
    if (entries[at] | USED) == (key | USED):
        entries[at] |= key
        return True
    return touch_set(entries, unit.ways, at, key)


@kernel
def touch_set(entries: NDArray[np.uint64], ways: np.uint64, at: np.uint64, key: np.uint64) -> bool:
    """Do what `touch` does in the set that begins at `at`, group by group; the last entry of each moves on to the next."""
    before = key
    kept = USED
    for group in range(np.uint64(0), ways, np.uint64(LANES)):
        lanes = ALL_LANES >> (np.uint64(LANES) - min(ways - group, np.uint64(LANES)))
        found, entry, before = move_up(entries, at + group, key, before, USED, kept, lanes)
        if found != NO_TRANSLATION:
            if group != NO_TRANSLATION:
                entries[at] |= entry & USED
            return True
        kept = NO_TRANSLATION
    return False


@kernel
def _find(entries: NDArray[np.uint64], unit: Record, page: np.uint64, key: np.uint64) -> np.uint64:
    """Return the entry of a translation in one TLB, NO_TRANSLATION if it is not there; nothing moves."""
    first = unit.first + (page & unit.set_mask) * unit.step
    for way in range(unit.ways):
        entry = entries[first + np.uint64(way)]
        if (entry | USED) == (key | USED):
            return entry
    return NO_TRANSLATION


@kernel
def entry_key(guest: Int, page: np.uint64, size: Int) -> np.uint64:
    """Return the entry of a translation through which no access was made yet.

    Args:
        guest: number of the guest on its host.
        page: guest page, in pages of 4 KB.
        size: SMALL or LARGE.
    """
    number = page >> NPTEPG_SHIFT if size == LARGE else page
    return (
        (np.uint64(guest) << GUEST_SHIFT)
        | ((number + ONE) << PAGE_KEY_SHIFT)
        | (np.uint64(size) << SIZE_SHIFT)
    )


@kernel
def size_of(entry: np.uint64) -> Int:
    """Return the size of a translation: SMALL or LARGE."""
    return np.int64((entry >> SIZE_SHIFT) & ONE)


@kernel
def cached(tlbs: Tlbs, number: Int, vcpu: Int, guest: Int, page: np.uint64, op: Int) -> np.uint64:
    """Return the entry that would serve an access, NO_TRANSLATION if there is none.

    The first level is asked for both page sizes before the second is asked for either: a 4 KB translation from before
    a promotion may be left in the second level while the first holds the 2 MB translation that came after.
    """
    entries = tlbs.entry[number, vcpu]
    for level in range(LEVELS):
        for size in range(SIZES):
            unit = tlbs.route[number, op, size, level]
            if unit != NO_UNIT:
                number_of_page = page >> NPTEPG_SHIFT if size == LARGE else page
                key = entry_key(guest, page, size)
                entry = _find(entries, tlbs.unit[number, unit], number_of_page, key)
                if entry != NO_TRANSLATION:
                    return entry
    return NO_TRANSLATION


@kernel
def serves(entry: np.uint64, op: Int) -> bool:
    """Return whether a cached translation lets an access through without a walk.

    A translation is cached with the rights of the walks that were made for it: those for the kinds of access made through it.
    """
    return (entry & (READS if op == OP_READ else ONE << np.uint64(op))) != NO_BITS


@kernel
def host_size(st: State, page: np.uint64) -> Int:
    """Return LARGE if the host maps a guest page by 2 MB, else SMALL."""
    pde = pmap_pde(st, st.pmap[0], page << PAGE_SHIFT)
    return LARGE if pde != NULL and (st.pt[pde] & PG_PS) != NO_BITS else SMALL


@kernel
def cached_structure(held: NDArray[np.uint64], entries: Int, page: np.uint64) -> Int:
    """Return the entry nearest the leaf that a CPU's paging-structure caches hold for a page; afterwards they hold all of them.

    Args:
        held: the caches, as in Tlbs.structure: shape [STRUCTURES, entries].
        entries: of each; 0 for none.
        page: guest page, in pages of 4 KB.
    """
    nearest: Int = NO_STRUCTURE
    if entries == 0:
        return nearest
    for structure in range(STRUCTURES - 1, -1, -1):
        wanted = (page >> (NPTEPG_SHIFT * np.uint64(structure + 1))) + ONE
        before = wanted
        for i in range(entries):
            entry = held[structure, i]
            held[structure, i] = before
            if entry == wanted:
                nearest = structure
                break
            before = entry
    return nearest


@kernel
def flush_if_invalidated(st: State, tlbs: Tlbs, number: Int) -> None:
    """Flush a guest's translations from every CPU if its pmap was invalidated since the TLBs were last compared with it."""
    count = tlbs.counters[number, 0]
    invalidations = st.cnt[0].inv_page + st.cnt[0].inv_range + st.cnt[0].inv_all
    if invalidations != count.invalidations:
        count.invepts += (invalidations - count.invalidations) * tlbs.entry.shape[1]
        count.invalidations = invalidations
        flush(tlbs, number)


@entry_point
def flush_all_if_invalidated(states: State, tlbs: Tlbs) -> None:
    """Do what flush_if_invalidated does in every instance."""
    for number in range(len(tlbs.counters)):
        flush_if_invalidated(instance(states, number), tlbs, number)


@kernel
def flush(tlbs: Tlbs, number: Int) -> None:
    """Empty the TLBs and paging-structure caches of all CPUs of an instance."""
    tlbs.entry[number, :, :] = NO_TRANSLATION
    tlbs.structure[number, :, :, :] = NO_TRANSLATION
    tlbs.counters[number, 0].flushes += 1


WALK_LEVELS = 4


def walk_references(
    guest_large: bool, host_large: bool, structure: int = NO_STRUCTURE
) -> tuple[NDArray[np.int64], ...]:
    """Return the memory references of one nested walk: to the guest's tables, and to the host's, shape [4] each, level 1 first.

    Every entry of the guest's tables that is read has to be found first, by a walk of the host's tables; one more such
    walk translates the address that the guest's tables give.  A cold walk with 4 KB pages on both sides takes
    4 + 4 * 4 + 4 = 24.  Where the guest's own tables lie is unknown, so their addresses are translated in full by pages of the
    host's size; paging-structure caches shorten the walk of the guest's tables, and the last walk of the host's.

    Args:
        guest_large: whether the guest's page has 2 MB.
        host_large: whether the host maps it by 2 MB.
        structure: the entry nearest the leaf that was cached: 0 PDE, 1 PDPTE, 2 PML4E, NO_STRUCTURE.
    """
    guest = np.zeros(WALK_LEVELS, np.int64)
    host = np.zeros(WALK_LEVELS, np.int64)
    guest_leaf, host_leaf = int(guest_large), int(host_large)  # level index of the leaf entry
    guest[guest_leaf : max(structure, guest_leaf) + 1] = 1
    host[host_leaf:] = guest.sum()
    host[host_leaf : max(structure, host_leaf) + 1] += 1
    return guest, host
