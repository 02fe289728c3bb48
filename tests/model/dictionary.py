"""What must be mapped, kept the slow way: one dictionary a pmap, from page number to what is known of the page.

There are no tables here, no lists and no words of bits.  A superpage is a mark on 512 pages that happen to be
alike, so every test against this shows that a promotion followed by a demotion changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tests.model.harness import (
    ALL,
    EMULATED,
    FAULTED,
    HIT,
    NPTEPG,
    PAGE,
    REFUSED,
    Host,
    R,
    W,
    X,
)
from tests.model.invariants import Pages, Pmap, by_pages

from eptreplay.model.state import pte

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DONTNEED = 4


@dataclass
class Mapping:
    """What a pmap knows of a page that it maps."""

    page: int
    writable: bool
    executable: bool
    wired: bool
    accessed: bool
    modified: bool

    @property
    def kind(self) -> tuple[bool, bool, bool, bool]:
        """What two pages must have in common to share a superpage, when both are used."""
        return self.writable, self.executable, self.wired, self.modified

    @property
    def rights(self) -> tuple[bool, bool, bool]:
        return self.writable, self.executable, self.wired

    @property
    def written(self) -> bool:
        return self.writable and self.modified

    @property
    def code(self) -> int:
        values = (self.writable, self.accessed, self.modified, self.wired, not self.executable)
        return sum(value << bit for bit, value in enumerate(values))

    def write_protect_if_clean(self) -> None:
        if not self.modified:
            self.writable = False


class Dictionary:
    """All pmaps of a host.  Addresses are page numbers (byte address / 4096), superpages those / 512."""

    def __init__(self, host: Host, hashes: Sequence[int]) -> None:
        self.kinds = host.kinds
        self.hashes = hashes
        self.regions = (host.regions >> np.uint64(12)).astype(int).tolist()
        self.maps: list[dict[int, Mapping]] = [{} for _ in host.kinds]
        self.superpages: list[set[int]] = [set() for _ in host.kinds]
        self.population: list[Counter[int]] = [Counter() for _ in host.kinds]  # pages mapped, by superpage
        self.places: defaultdict[int, dict[tuple[int, int], None]] = defaultdict(dict)  # of each page
        self.allocated: set[int] = set()
        self.reserved: Counter[int] = Counter()  # pages allocated, by reservation
        self.dirty: set[int] = set()
        self.referenced: set[int] = set()
        self.writeable: set[int] = set()
        self.invalidations = [0 for _ in host.kinds]
        self.counts: Counter[str] = Counter()

    # ---- parts -------------------------------------------------------------------------------------------

    def emulates(self, pm: int) -> bool:
        return bool(self.kinds[pm].pm_flags & pte.PMAP_EMULATE_AD_BITS)

    def is_super(self, pm: int, at: int) -> bool:
        return at // NPTEPG in self.superpages[pm]

    def together(self, pm: int, at: int) -> Iterator[Mapping]:
        """Yield what shares the bits of the mapping at an address: itself, or all of its superpage."""
        if self.is_super(pm, at):
            base = at // NPTEPG * NPTEPG
            for k in range(NPTEPG):
                yield self.maps[pm][base + k]
        else:
            yield self.maps[pm][at]

    def put(self, pm: int, at: int, mapping: Mapping) -> None:
        self.maps[pm][at] = mapping
        self.population[pm][at // NPTEPG] += 1
        self.places[mapping.page][pm, at] = None

    def drop(self, pm: int, at: int, *, silently: bool = False) -> None:
        mapping = self.maps[pm].pop(at)
        self.population[pm][at // NPTEPG] -= 1
        del self.places[mapping.page][pm, at]
        if mapping.written:
            self.dirty.add(mapping.page)
        if mapping.accessed and not silently:
            self.referenced.add(mapping.page)
        if not self.places[mapping.page]:
            self.writeable.discard(mapping.page)

    def drop_super(self, pm: int, big: int, *, silently: bool = False) -> None:
        self.superpages[pm].discard(big)
        for at in range(big * NPTEPG, (big + 1) * NPTEPG):
            self.drop(pm, at, silently=silently)

    def demote(self, pm: int, big: int) -> bool:
        if not self.maps[pm][big * NPTEPG].accessed:
            self.drop_super(pm, big)
            self.invalidations[pm] += 1
            return False
        self.superpages[pm].discard(big)
        self.counts["demotions"] += 1
        return True

    def promote(self, pm: int, at: int, page: int) -> None:
        big = at // NPTEPG
        if not self.kinds[pm].pm_flags & pte.PMAP_PDE_SUPERPAGE:
            return
        if self.population[pm][big] < NPTEPG or self.reserved[page // NPTEPG] < NPTEPG:
            return
        self.counts["promotions" if self.all_alike(pm, big) else "p_failures"] += 1

    def all_alike(self, pm: int, big: int) -> bool:
        """Mark 512 pages as a superpage if they can be one; clean ones lose the right to write on the way."""
        pages = self.maps[pm]
        first = pages[big * NPTEPG]
        if not first.accessed or first.page % NPTEPG:
            return False
        first.write_protect_if_clean()
        for k in range(NPTEPG - 1, 0, -1):
            mapping = pages[big * NPTEPG + k]
            if not mapping.accessed or mapping.page != first.page + k:
                return False
            mapping.write_protect_if_clean()
            if mapping.kind != first.kind:
                return False
        self.superpages[pm].add(big)
        return True

    def cut(self, pm: int, begin: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Yield a range by superpages, only where something is mapped: begin, end, whether to take all at once.

        A superpage of which the range holds a part is demoted first; if that removes it, it is left out.
        """
        for big in range(begin // NPTEPG, -(-end // NPTEPG)):
            low, high = max(begin, big * NPTEPG), min(end, (big + 1) * NPTEPG)
            whole = big in self.superpages[pm]
            if whole and high - low < NPTEPG:
                if not self.demote(pm, big):
                    continue
                whole = False
            if self.population[pm][big]:
                yield low, high, whole

    def mapped(self, pm: int, begin: int, end: int) -> list[int]:
        return [at for at in range(begin, end) if at in self.maps[pm]]

    # ---- operations on addresses -------------------------------------------------------------------------

    def alloc(self, page: int) -> None:
        if page not in self.allocated:
            self.allocated.add(page)
            self.reserved[page // NPTEPG] += 1

    def enter(self, pm: int, at: int, page: int, access: int, prot: int, *, wired: bool = False) -> None:
        self.alloc(page)
        new = Mapping(page, bool(prot & W), bool(prot & X), wired, accessed=True, modified=bool(access & W))
        if self.is_super(pm, at):
            self.demote(pm, at // NPTEPG)
        old = self.maps[pm].get(at)
        if old is None:
            self.put(pm, at, new)
        elif old.page != page:
            self.invalidations[pm] += old.accessed
            self.drop(pm, at)
            self.put(pm, at, new)
        elif old.rights != new.rights:
            stale = old.written and not new.modified
            if stale:
                self.dirty.add(page)
            if old.accessed and (stale or (old.executable and not new.executable)):
                self.invalidations[pm] += 1
            self.maps[pm][at] = new
        if new.writable:
            self.writeable.add(page)
        self.promote(pm, at, page)

    def enter_quick(self, pm: int, at: int, page: int, prot: int) -> None:
        if at not in self.maps[pm]:
            quick = Mapping(page, False, bool(prot & X), wired=False, accessed=False, modified=False)
            self.put(pm, at, quick)

    def enter_object(self, pm: int, begin: int, page: int, n: int, prot: int) -> None:
        k = 0
        while k < n:
            big, offset = divmod(begin + k, NPTEPG)
            fits = offset == 0 and (page + k) % NPTEPG == 0 and n - k >= NPTEPG
            if (
                fits
                and self.kinds[pm].pm_flags & pte.PMAP_PDE_SUPERPAGE
                and self.reserved[(page + k) // NPTEPG] == NPTEPG
                and not self.population[pm][big]
            ):
                for at in range(NPTEPG):
                    self.enter_quick(pm, begin + k + at, page + k + at, prot)
                self.superpages[pm].add(big)
                self.counts["mappings"] += 1
                k += NPTEPG
            else:
                if k == 0 or page + k in self.allocated:
                    self.enter_quick(pm, begin + k, page + k, prot)
                k += 1

    def remove(self, pm: int, begin: int, end: int) -> None:
        lost = False
        for low, high, whole in self.cut(pm, begin, end):
            here = self.mapped(pm, low, high)
            lost |= bool(here)
            if whole:
                self.drop_super(pm, low // NPTEPG)
            else:
                for at in here:
                    self.drop(pm, at)
        self.invalidations[pm] += lost

    def protect(self, pm: int, begin: int, end: int, prot: int) -> None:
        if not prot & R:
            self.remove(pm, begin, end)
            return
        if prot & W and prot & X:
            return
        changed = False
        for low, high, whole in self.cut(pm, begin, end):
            for at in self.mapped(pm, low, high):
                mapping = self.maps[pm][at]
                before = mapping.code
                if mapping.written and (whole or not prot & W):
                    self.dirty.add(mapping.page)
                if not prot & W:
                    mapping.writable = mapping.modified = False
                if not prot & X:
                    mapping.executable = False
                changed |= mapping.code != before
        self.invalidations[pm] += changed

    def advise(self, pm: int, begin: int, end: int, advice: int) -> None:
        if self.emulates(pm):
            return
        changed = False
        for big in range(begin // NPTEPG, -(-end // NPTEPG)):
            low, high = max(begin, big * NPTEPG), min(end, (big + 1) * NPTEPG)
            if big in self.superpages[pm]:
                wired = self.maps[pm][low].wired
                if self.demote(pm, big) and not wired:
                    self.drop(pm, low)
                    changed = True
            for at in self.mapped(pm, low, high):
                mapping = self.maps[pm][at]
                changed |= mapping.written or mapping.accessed
                if mapping.written and advice == DONTNEED:
                    self.dirty.add(mapping.page)
                mapping.modified &= not mapping.written
                mapping.accessed = False
        self.invalidations[pm] += changed

    def may_change_wiring(self, pm: int, at: int, *, wired: bool) -> bool:
        mapping = self.maps[pm].get(at)
        if mapping is None:
            return False
        return not self.is_super(pm, at) or mapping.accessed or mapping.wired == wired

    def change_wiring(self, pm: int, at: int, *, wired: bool) -> None:
        if self.is_super(pm, at) and self.maps[pm][at].wired != wired:
            self.demote(pm, at // NPTEPG)
        for mapping in self.together(pm, at):
            mapping.wired = wired

    def remove_pages(self, pm: int) -> None:
        for big in list(self.superpages[pm]):
            if not self.maps[pm][big * NPTEPG].wired:
                self.drop_super(pm, big, silently=True)
        for at, mapping in list(self.maps[pm].items()):
            if not mapping.wired:
                self.drop(pm, at, silently=True)
        self.invalidations[pm] += 1

    def access(self, pm: int, at: int, access: int) -> int:
        """Make an access; return how it came out."""
        outcome = HIT
        while not self.hardware(pm, at, access):
            self.counts["traps"] += 1
            if self.emulates(pm) and access != X and self.emulate(pm, at, access):
                outcome = EMULATED
                continue
            page = self.home(pm, at)
            if page is None:
                return REFUSED
            outcome = FAULTED
            self.enter(pm, at, page, access, ALL)
        return outcome

    def home(self, pm: int, at: int) -> int | None:
        for region, begin in enumerate(self.regions[pm]):
            if begin <= at < begin + NPTEPG:
                return int(region * NPTEPG + at - begin)
        return None

    def hardware(self, pm: int, at: int, access: int) -> bool:
        mapping = self.maps[pm].get(at)
        if mapping is None:
            return False
        if self.emulates(pm):
            return access == X or (mapping.modified if access == W else mapping.accessed)
        if access == W and not mapping.writable:
            return False
        if access == X and self.kinds[pm].pm_type == pte.PT_X86 and not mapping.executable:
            return False
        if not mapping.accessed or (access == W and not mapping.modified):
            for shared in self.together(pm, at):
                shared.accessed = True
                shared.modified |= access == W
        return True

    def emulate(self, pm: int, at: int, access: int) -> bool:
        mapping = self.maps[pm].get(at)
        if mapping is None or (access == W and (not mapping.writable or self.is_super(pm, at))):
            return False
        for shared in self.together(pm, at):
            shared.accessed = True
            shared.modified |= access == W
        if not self.is_super(pm, at):
            self.promote(pm, at, mapping.page)
        return True

    # ---- operations on pages -----------------------------------------------------------------------------

    def found(self, page: int, *, large: bool) -> list[tuple[int, int]]:
        return [(pm, at) for pm, at in self.places[page] if self.is_super(pm, at) == large]

    def remove_all(self, page: int) -> None:
        for pm, at in self.found(page, large=True):
            self.demote(pm, at // NPTEPG)
        for pm, at in self.found(page, large=False):
            self.drop(pm, at)
            self.invalidations[pm] += 1
        self.writeable.discard(page)

    def free(self, page: int) -> None:
        self.remove_all(page)
        if page in self.allocated:
            self.reserved[page // NPTEPG] -= 1
        for flags in (self.allocated, self.dirty, self.referenced):
            flags.discard(page)

    def remove_write(self, page: int) -> None:
        if page not in self.writeable:
            return
        for pm, at in self.found(page, large=True):
            if self.maps[pm][at].writable:
                self.demote(pm, at // NPTEPG)
        for pm, at in self.found(page, large=False):
            mapping = self.maps[pm][at]
            if mapping.writable:
                if mapping.modified:
                    self.dirty.add(page)
                mapping.writable = mapping.modified = False
                self.invalidations[pm] += 1
        self.writeable.discard(page)

    def clear_modify(self, page: int) -> None:
        if page not in self.writeable:
            return
        for pm, at in self.found(page, large=True):
            mapping = self.maps[pm][at]
            if mapping.writable and self.demote(pm, at // NPTEPG) and not mapping.wired:
                mapping.writable = mapping.modified = False
                self.dirty.add(page)
                self.invalidations[pm] += 1
        for pm, at in self.found(page, large=False):
            if self.maps[pm][at].written:
                self.maps[pm][at].modified = False
                self.invalidations[pm] += 1

    def ts_referenced(self, page: int) -> int:
        large, small = self.found(page, large=True), self.found(page, large=False)
        assert len(large) + len(small) < 5, "order would matter"
        count = 0
        for pm, at in large + small:
            mapping = self.maps[pm][at]
            count += mapping.accessed
            if mapping.accessed and self.may_clear_accessed(pm, at):
                self.clear_accessed(pm, at)
        return count

    def may_clear_accessed(self, pm: int, at: int) -> bool:
        """Tell whether this page may clear the bit: of a superpage, one page of 512, chosen by a hash, may."""
        mapping = self.maps[pm][at]
        if not self.is_super(pm, at):
            return True
        chosen = (mapping.page ^ at // NPTEPG ^ self.hashes[pm]) % NPTEPG == 0
        return chosen and not mapping.wired

    def clear_accessed(self, pm: int, at: int) -> None:
        mapping = self.maps[pm][at]
        executes_alone = bool(self.kinds[pm].pm_flags & pte.PMAP_SUPPORTS_EXEC_ONLY)
        if not self.emulates(pm) or (executes_alone and not mapping.modified):
            for shared in self.together(pm, at):
                shared.accessed = False
        elif mapping.wired:
            return
        else:
            if self.is_super(pm, at):
                self.demote(pm, at // NPTEPG)
            self.drop(pm, at)
        self.invalidations[pm] += 1

    # ---- comparison --------------------------------------------------------------------------------------

    def compare(self, host: Host, pmaps: list[Pmap]) -> None:
        """Assert that a host looks like this."""
        for pm, pmap in enumerate(pmaps):
            pages = by_pages(pmap)
            assert set((pmap.large.va >> np.uint64(21)).tolist()) == self.superpages[pm]
            found = zip(
                (pages.va // np.uint64(PAGE)).tolist(),
                pages.page.tolist(),
                codes(host, pm, pages),
                strict=True,
            )
            expected = [(at, mapping.page, mapping.code) for at, mapping in sorted(self.maps[pm].items())]
            assert list(found) == expected
        marks = {
            "allocated": self.allocated,
            "dirty": self.dirty,
            "referenced": self.referenced,
            "writeable": self.writeable,
        }
        page = host.st.page
        columns = {
            "allocated": page.allocated,
            "dirty": page.dirty,
            "referenced": page.aflags & 2,
            "writeable": page.aflags & 1,
        }
        for name, values in columns.items():
            assert set(np.flatnonzero(values).tolist()) == marks[name], name
        counters = host.counters()
        for name in ("promotions", "demotions", "p_failures", "mappings", "traps"):
            assert counters[name] == self.counts[name], name
        assert counters["inv_page"] + counters["inv_all"] == sum(self.invalidations)
        for pm, kind in enumerate(self.kinds):
            generations = self.invalidations[pm] if kind.pm_type == pte.PT_EPT else 0
            assert int(host.st.pmap[pm].pm_eptgen) == generations


def codes(host: Host, pm: int, pages: Pages) -> list[int]:
    """Return what entries say, as Mapping.code does."""
    pmap = host.st.pmap[pm]
    masks = (pmap.PG_RW, pmap.PG_A, pmap.PG_M, pte.PG_W, pte.PG_NX)
    total = np.zeros(len(pages.raw), np.int64)
    for bit, mask in enumerate(masks):
        total += (pages.raw & np.uint64(mask) != 0).astype(np.int64) << bit
    return [int(code) for code in total]
