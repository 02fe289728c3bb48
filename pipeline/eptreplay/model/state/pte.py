"""The bits of a page-table entry, for both formats, and the masks a pmap picks from them.

An entry is one 64-bit word.  Bits 12 to 51 hold the physical frame, the others are flags.  Most of the code
that handles entries is the same for ordinary x86 page tables (PT_X86) and nested ones (PT_EPT); the formats differ
in which bits mean "valid", "writable", "accessed" and "modified" (PT_RVI has the format of PT_X86).  That is decided once, when a pmap is made
(`pmap_pinit_type`), and from then on all code asks the pmap.

Source of the facts: SDM volume 3, 4.5 (4-level paging) and 28.2.2 (EPT); amd64/include/pmap.h, FreeBSD 10.0.
"""

from __future__ import annotations

from typing import Final

import numpy as np

U64 = np.uint64

# Kinds of page table (enum pmap_type).
PT_X86: Final = 0
PT_EPT: Final = 1
PT_RVI: Final = 2  # AMD nested paging: entries as PT_X86, invalidated as PT_EPT

# pm_flags.
PMAP_PDE_SUPERPAGE: Final = 1  # 2 MB mappings may be made
PMAP_EMULATE_AD_BITS: Final = 2  # the CPU sets no A and D bits in EPT: software does
PMAP_SUPPORTS_EXEC_ONLY: Final = 4  # the CPU takes XWR = 100 in EPT

# fmt: off

# ---- ordinary x86 entries ---------------------- SDM name, meaning
X86_PG_V       = U64(0x001)            # P      present
X86_PG_RW      = U64(0x002)            # R/W    writable
X86_PG_U       = U64(0x004)            # U/S    user may use it
X86_PG_NC_PWT  = U64(0x008)            # PWT    write-through
X86_PG_NC_PCD  = U64(0x010)            # PCD    cache disabled
X86_PG_A       = U64(0x020)            # A      accessed
X86_PG_M       = U64(0x040)            # D      dirty
X86_PG_PS      = U64(0x080)            # PS     in a PDE: maps 2 MB itself
X86_PG_PTE_PAT = U64(0x080)            # PAT    in a PTE: memory type, high bit
X86_PG_G       = U64(0x100)            # G      kept across a reload of CR3
X86_PG_PDE_PAT = U64(0x1000)           # PAT    in a 2 MB PDE: memory type, high bit
X86_PG_NX      = U64(0x8000000000000000)  # XD  no fetches

# ---- nested (EPT) entries ------------------------------------------
EPT_PG_READ       = U64(0x001)         # R      reads allowed
EPT_PG_WRITE      = U64(0x002)         # W      writes allowed
EPT_PG_EXECUTE    = U64(0x004)         # X      fetches allowed
EPT_PG_MT_WB      = U64(0x030)         # MT     memory type 6, write-back
EPT_PG_MT_MASK    = U64(0x038)         # MT     the whole field
EPT_PG_IGNORE_PAT = U64(0x040)         # IPAT   the guest's PAT has no say
EPT_PG_PS         = U64(0x080)         #        in a PDE: maps 2 MB itself
EPT_PG_A          = U64(0x100)         # A      accessed (CPUs with A/D bits)
EPT_PG_M          = U64(0x200)         # D      dirty (CPUs with A/D bits)
EPT_PG_EMUL_V     = U64(1 << 52)       # ignored by the CPU: valid, when A/D bits are emulated
EPT_PG_EMUL_RW    = U64(1 << 53)       # ignored by the CPU: writable, when A/D bits are emulated

# ---- the same bit in both formats ----------------------------------
PG_U       = U64(0x004)                # U/S in x86, X in EPT; it is set in every entry, so every guest page can be executed
PG_PS      = U64(0x080)                # maps 2 MB itself
PG_MANAGED = U64(0x400)                # free for software: the page has pv entries
PG_W       = U64(0x800)                # free for software: wired
PG_PROMOTED = U64(1 << 54)             # ignored by the CPU: the superpage came from a promotion (no such bit in 10.0)
PG_NX      = U64(0x8000000000000000)   # no fetches in x86; no effect in EPT, but a difference all the same

PG_FRAME    = U64(0x000FFFFFFFFFF000)  # physical address of a page or of a table
PG_PS_FRAME = U64(0x000FFFFFFFE00000)  # physical address of 2 MB

# ---- geometry of four-level tables ---------------------------------
PAGE_SHIFT = U64(12)                   # log2 bytes a PTE maps
PDRSHIFT   = U64(21)                   # log2 bytes a PDE maps
PDPSHIFT   = U64(30)                   # log2 bytes a PDPE maps
PML4SHIFT  = U64(39)                   # log2 bytes a PML4E maps
PAGE_SIZE  = U64(1 << 12)              # bytes
NBPDR      = U64(1 << 21)              # bytes, a superpage
NBPDP      = U64(1 << 30)              # bytes
NBPML4     = U64(1 << 39)              # bytes
PAGE_MASK  = U64((1 << 12) - 1)
PDRMASK    = U64((1 << 21) - 1)
PDPMASK    = U64((1 << 30) - 1)
PML4MASK   = U64((1 << 39) - 1)
INDEX_MASK = U64(511)
NPTEPG     = 512                       # entries per table
PTE_LEVEL  = 1                         # of a leaf that maps 4 KB
PDE_LEVEL  = 2                         # of a leaf that maps 2 MB: a superpage
VM_MAXUSER_ADDRESS = U64(1 << 47)      # end of the user half, bytes

# fmt: on

# Rights and kinds of access (VM_PROT_*).
VM_PROT_READ: Final = 1
VM_PROT_WRITE: Final = 2
VM_PROT_EXECUTE: Final = 4
VM_PROT_ALL: Final = 7

# Page-table pages have physical addresses of their own, above those of all data pages.
PTP_BASE = U64(1 << 50)

EMPTY = U64(0)  # an entry that maps nothing, in either format
NO_BITS = U64(0)  # what a mask leaves of an entry that has none of its bits


def names(entry: int, pm_type: int, pm_flags: int, level: int) -> list[str]:
    """Return the names of the bits set in an entry, in the words of its format, low bits first.

    Args:
        entry: the raw 64-bit entry.
        pm_type: PT_X86, PT_EPT or PT_RVI.
        pm_flags: the pmap's flags; they decide what an EPT bit stands for.
        level: 1 PTE, 2 PDE, 3 PDPE, 4 PML4E.
    """
    large = level == 2 and bool(entry & int(PG_PS))
    if pm_type != PT_EPT:
        table = {0: "V", 1: "RW", 2: "U", 3: "PWT", 4: "PCD", 5: "A", 6: "M", 8: "G"}
        table[7] = "PS" if level > 1 else "PAT"
        if large:
            table[12] = "PAT"
    elif pm_flags & PMAP_EMULATE_AD_BITS:
        table = {0: "READ=A", 1: "WRITE=M", 2: "EXECUTE=U", 6: "IPAT", 7: "PS", 52: "EMUL_V", 53: "EMUL_RW"}
    else:
        table = {0: "READ=V", 1: "WRITE=RW", 2: "EXECUTE=U", 6: "IPAT", 7: "PS", 8: "A", 9: "M"}
    table |= {10: "MANAGED", 11: "W", 54: "PROMOTED", 63: "NX"}
    found = [name for bit, name in sorted(table.items()) if entry >> bit & 1]
    if pm_type == PT_EPT and (level == 1 or large):
        found.append(f"MT={entry >> 3 & 7}")
    return found
