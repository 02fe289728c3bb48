"""A simulated host that tests drive one operation at a time, and look into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from eptreplay.model._numba.arrays import records
from eptreplay.model.recorded.codes import ARGUMENTS, NO_PAGE, RESULTS, Operation
from eptreplay.model.recorded.operations import init_pmap, run_operations
from eptreplay.model.state import pte
from eptreplay.model.state.pages import PG_FICTITIOUS, PGA_REFERENCED, PGA_WRITEABLE, VPO_UNMANAGED
from eptreplay.model.state.releases import FREEBSD_10_0
from eptreplay.model.state.state import Room, State, new_states, single

if TYPE_CHECKING:
    from eptreplay.model._numba.types import Records

# Rights and kinds of access.
R: Final = 1
W: Final = 2
X: Final = 4
RW: Final = R | W
RX: Final = R | X
ALL: Final = R | W | X

PAGE: Final = 1 << 12  # bytes
SUPER: Final = 1 << 21  # bytes
NPTEPG: Final = 512
PBASE: Final = 1 << 32
FRAME: Final = 0x000F_FFFF_FFFF_F000
SUPER_FRAME: Final = 0x000F_FFFF_FFE0_0000
PTP_BASE: Final = 1 << 50
NO_PMAP: Final = 255

# Answers of an access.
HIT: Final = 0
EMULATED: Final = 1
REFUSED: Final = 2
FAULTED: Final = 3


class Kind(NamedTuple):
    """A kind of pmap, and the kernel that makes it: release FREEBSD_*, and its variable allow_2m_x_ept, of which 1 forbids."""

    name: str
    pm_type: int
    pm_flags: int
    release: int = FREEBSD_10_0
    allow_2m_x_ept: int = 0

    def under(self, release: int, allow_2m_x_ept: int = 0) -> Kind:
        """Return the same kind under a release."""
        return self._replace(name=f"{self.name}@{release}", release=release, allow_2m_x_ept=allow_2m_x_ept)


EPT_AD = Kind("ept-ad", pte.PT_EPT, pte.PMAP_PDE_SUPERPAGE)
EPT_AD_NOSP = Kind("ept-ad-nosp", pte.PT_EPT, 0)
EPT_EMUL = Kind("ept-emul", pte.PT_EPT, pte.PMAP_PDE_SUPERPAGE | pte.PMAP_EMULATE_AD_BITS)
EPT_EMUL_NOSP = Kind("ept-emul-nosp", pte.PT_EPT, pte.PMAP_EMULATE_AD_BITS)
EPT_EMUL_XO = Kind("ept-emul-xo", pte.PT_EPT, EPT_EMUL.pm_flags | pte.PMAP_SUPPORTS_EXEC_ONLY)
X86 = Kind("x86", pte.PT_X86, pte.PMAP_PDE_SUPERPAGE)
RVI = Kind("rvi", pte.PT_RVI, pte.PMAP_PDE_SUPERPAGE)

KINDS: Final = (EPT_AD, EPT_AD_NOSP, EPT_EMUL, EPT_EMUL_NOSP, EPT_EMUL_XO, X86)
WITH_SUPERPAGES: Final = (EPT_AD, EPT_EMUL, EPT_EMUL_XO, X86)
EMULATED_KINDS: Final = (EPT_EMUL, EPT_EMUL_NOSP, EPT_EMUL_XO)
HARDWARE_KINDS: Final = (EPT_AD, EPT_AD_NOSP, X86)

COUNTERS: Final = (
    "ipis",
    "x86_ipis",
    "promotions",
    "demotions",
    "mappings",
    "p_failures",
    "inv_page",
    "inv_range",
    "inv_all",
    "dirty_calls",
    "traps",
)


class Outcome(NamedTuple):
    """What an operation answered, and by how much each counter it moved changed (the others are left out)."""

    ret: int
    changed: dict[str, int]


class Leaf(NamedTuple):
    """A valid leaf entry; level 0: none."""

    level: int
    slot: int
    raw: int


def regions_of(pmaps: int, regions: int, misaligned: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Return where the regions begin: pmap p has region r at 4 GB * p + 2 MB * r, the last pmap's moved up."""
    begin = [[(p << 32) + r * SUPER for r in range(regions)] for p in range(pmaps)]
    begin[-1] = [va + misaligned for va in begin[-1]]
    return np.array(begin, np.uint64)


class Host:
    """A host of some pmaps over some regions of 512 pages each; the last regions may be device memory.

    Page m is page m % 512 of region m // 512, which every pmap has at an address of its own (`va`).
    """

    def __init__(
        self,
        *kinds: Kind,
        regions: int = 2,
        devices: int = 0,
        hashes: tuple[int, ...] = (0, 0),
        misaligned: int = 0,
        mappings: int = 1 << 13,
        tables: int = 64,
        fast_path: bool = False,
    ) -> None:
        self.kinds = kinds or (EPT_AD,)
        self.pages = regions * NPTEPG
        self.regions = regions_of(len(self.kinds), regions, misaligned)
        states = new_states(
            1,
            Room(pmaps=len(self.kinds), pages=self.pages, mappings=mappings, tables=tables),
            np.zeros(self.pages if fast_path else 0, np.uint8),
            PBASE,
        )
        self.st = single(states)
        self.st.page.oflags[self.pages - devices * NPTEPG :] = PG_FICTITIOUS | VPO_UNMANAGED
        self.st.host[0].release = self.kinds[0].release
        self.st.host[0].allow_2m_x_ept = self.kinds[0].allow_2m_x_ept
        for number, kind in enumerate(self.kinds):
            init_pmap(self.st, number, kind.pm_type, kind.pm_flags, hashes[number])
        if fast_path:
            self.st.pmap[0].pm_fast_path_pages = self.pages

    # ---- driving -----------------------------------------------------------------------------------------

    def run_many(self, arguments: Records) -> Records:
        """Carry out operations; return their RESULTS."""
        results = records(len(arguments), RESULTS)
        with np.errstate(over="ignore"):
            run_operations(self.st, self.regions, len(self.kinds), arguments, results)
        assert not self.st.host[0].exhausted
        return results

    def run(self, op: Operation, pm: int = NO_PMAP, **arguments: int) -> Outcome:
        """Carry out one operation."""
        given = records(1, ARGUMENTS)
        given.op, given.pm, given.page = op, pm, NO_PAGE
        for name, value in arguments.items():
            given[name] = value
        before = self.counters()
        ret = int(self.run_many(given).ret[0])
        after = self.counters()
        return Outcome(
            ret, {name: after[name] - before[name] for name in after if after[name] != before[name]}
        )

    def counters(self) -> dict[str, int]:
        """Return all counters; those of a second pmap end in 1."""
        values = {name: int(self.st.cnt[0][name]) for name in COUNTERS}
        for pm, pmap in enumerate(self.st.pmap):
            end = str(pm) if pm else ""
            values["eptgen" + end] = int(pmap.pm_eptgen)
            values["resident" + end] = int(pmap.resident_count)
            values["wired" + end] = int(pmap.wired_count)
        return values

    def enter(
        self, va: int, page: int, access: int = R, prot: int = ALL, *, wired: bool = False, pm: int = 0
    ) -> Outcome:
        return self.run(Operation.ENTER, pm, va=va, page=page, access=access, prot=prot, wired=wired)

    def enter_run(
        self,
        va: int,
        page: int,
        n: int,
        access: int = R,
        prot: int = ALL,
        *,
        wired: bool = False,
        pm: int = 0,
    ) -> Outcome:
        return self.run(Operation.ENTER_RUN, pm, va=va, page=page, n=n, access=access, prot=prot, wired=wired)

    def enter_quick(self, va: int, page: int, prot: int = ALL, pm: int = 0) -> Outcome:
        return self.run(Operation.ENTER_QUICK, pm, va=va, page=page, prot=prot)

    def enter_object(self, va: int, page: int, n: int, prot: int = ALL, pm: int = 0) -> Outcome:
        return self.run(Operation.ENTER_OBJECT, pm, va=va, eva=va + n * PAGE, page=page, prot=prot)

    def object_init_pt(self, va: int, page: int, n: int, pm: int = 0) -> Outcome:
        return self.run(Operation.OBJECT_INIT_PT, pm, va=va, page=page, n=n)

    def remove(self, va: int, pages: int, pm: int = 0) -> Outcome:
        return self.run(Operation.REMOVE, pm, va=va, eva=va + pages * PAGE)

    def protect(self, va: int, pages: int, prot: int, pm: int = 0) -> Outcome:
        return self.run(Operation.PROTECT, pm, va=va, eva=va + pages * PAGE, prot=prot)

    def enter_2m(
        self, va: int, page: int, access: int = W, prot: int = ALL, *, wired: bool = False, pm: int = 0
    ) -> Outcome:
        return self.run(Operation.ENTER_2M, pm, va=va, page=page, access=access, prot=prot, wired=wired)

    def unwire(self, va: int, pages: int, pm: int = 0) -> Outcome:
        return self.run(Operation.UNWIRE, pm, va=va, eva=va + pages * PAGE)

    def asserted(self) -> int:
        """Return what occurred that the kernel asserts never does, ASSERT_*; 0: nothing."""
        return int(self.st.host[0].asserted)

    def is_promoted(self, va: int, pm: int = 0) -> bool:
        """Return whether the leaf entry for an address has PG_PROMOTED."""
        return self.find(va, pm).raw & int(pte.PG_PROMOTED) != 0

    def advise(self, va: int, pages: int, advice: int, pm: int = 0) -> Outcome:
        return self.run(Operation.ADVISE, pm, va=va, eva=va + pages * PAGE, arg=advice)

    def change_wiring(self, va: int, *, wired: bool, pm: int = 0) -> Outcome:
        return self.run(Operation.CHANGE_WIRING, pm, va=va, wired=wired)

    def copy(self, va: int, pages: int, source: int = 0, target: int = 1) -> Outcome:
        return self.run(Operation.COPY, source, va=va, eva=va + pages * PAGE, arg=target)

    def access(self, va: int, access: int, pm: int = 0) -> Outcome:
        """Make an access; a fault stays unresolved."""
        return self.run(Operation.ACCESS, pm, va=va, access=access)

    def access_fault(self, va: int, access: int, pm: int = 0) -> Outcome:
        """Make an access; a fault maps the address's home page with all rights."""
        return self.run(Operation.ACCESS_FAULT, pm, va=va, access=access)

    def fill(self, region: int, access: int, pm: int = 0, n: int = NPTEPG) -> Outcome:
        """Access the first `n` pages of a region in order, faulting them in."""
        return self.run(Operation.ACCESS_RUN, pm, va=self.va(region * NPTEPG, pm), n=n, access=access)

    def pmap_op(self, op: Operation, va: int, pm: int = 0, **arguments: int) -> Outcome:
        """Carry out an operation on an address of a pmap."""
        return self.run(op, pm, va=va, **arguments)

    def page_op(self, op: Operation, page: int) -> Outcome:
        """Carry out an operation on one page."""
        return self.run(op, page=page)

    def ts_referenced(self, page: int) -> Outcome:
        return self.page_op(Operation.TS_REFERENCED, page)

    def alloc(self, page: int, n: int = 1) -> Outcome:
        return self.run(Operation.ALLOC_RUN, page=page, n=n)

    def set_active(self, cpus: int, pm: int = 0) -> Outcome:
        return self.run(Operation.SET_ACTIVE, pm, arg=cpus)

    # ---- looking -----------------------------------------------------------------------------------------

    def va(self, page: int, pm: int = 0) -> int:
        """Return where a page is at home in a pmap."""
        return int(self.regions[pm, page // NPTEPG]) + page % NPTEPG * PAGE

    def slot(self, va: int, level: int, pm: int = 0) -> int:
        """Return the slot of the entry of a level for an address; every level above must point to a table."""
        table = int(self.st.pmap[pm].pm_pml4)
        for above in range(4, level, -1):
            table = table_number(int(self.st.pt[table * NPTEPG + index(va, above)]))
        return table * NPTEPG + index(va, level)

    def find(self, va: int, pm: int = 0) -> Leaf:
        """Return the valid leaf entry for an address."""
        valid = int(self.st.pmap[pm].PG_V)
        table = int(self.st.pmap[pm].pm_pml4)
        for level in range(4, 0, -1):
            slot = table * NPTEPG + index(va, level)
            raw = int(self.st.pt[slot])
            if not raw & valid:
                break
            if level == 1 or (level == 2 and raw & 0x80):
                return Leaf(level, slot, raw)
            table = table_number(raw)
        return Leaf(0, -1, 0)

    def leaf(self, va: int, pm: int = 0) -> str:
        """Return the leaf entry for an address in words, such as "4K RW A M"; "none" without one.

        "4K" or "2M", then those of RW, A, M, W (wired), NX and "unmanaged" that hold.
        """
        level, _, raw = self.find(va, pm)
        if level == 0:
            return "none"
        return " ".join([{1: "4K", 2: "2M"}[level], *bits(self.st, pm, raw)])

    def leaves(self, region: int, pm: int = 0) -> dict[str, int]:
        """Return how many pages of a region have which leaf entry."""
        found: dict[str, int] = {}
        for page in range(region * NPTEPG, (region + 1) * NPTEPG):
            words = self.leaf(self.va(page, pm), pm)
            found[words] = found.get(words, 0) + 1
        return found

    def maps(self, va: int, pm: int = 0) -> int | None:
        """Return the page that an address maps to."""
        level, _, raw = self.find(va, pm)
        if level == 0:
            return None
        start = (raw & (SUPER_FRAME if level == 2 else FRAME)) - PBASE
        return start // PAGE + (va % SUPER // PAGE if level == 2 else 0)

    def flags(self, page: int) -> str:
        """Return those of "dirty", "referenced" and "writeable" that hold for a page, in this order."""
        m = self.st.page[page]
        words = {
            "dirty": m.dirty,
            "referenced": m.aflags & PGA_REFERENCED,
            "writeable": m.aflags & PGA_WRITEABLE,
        }
        return " ".join(word for word, holds in words.items() if holds)

    def tables_in_use(self) -> int:
        """Return how many page-table pages are in use, roots included."""
        return int((self.st.ptp.wire_count[1:] != 0).sum())


def index(va: int, level: int) -> int:
    """Return the index of an address in a table of a level."""
    return va >> (12 + 9 * (level - 1)) & 511


def table_number(entry: int) -> int:
    """Return the page-table page that an entry points to."""
    return ((entry & FRAME) - PTP_BASE) // PAGE


def bits(st: State, pm: int, raw: int) -> list[str]:
    """Return what a leaf entry says, beside that it is valid, in words."""
    pmap = st.pmap[pm]
    words: dict[str, Any] = {"RW": pmap.PG_RW, "A": pmap.PG_A, "M": pmap.PG_M, "W": pte.PG_W, "NX": pte.PG_NX}
    found = [word for word, bit in words.items() if raw & int(bit)]
    return found if raw & int(pte.PG_MANAGED) else [*found, "unmanaged"]
