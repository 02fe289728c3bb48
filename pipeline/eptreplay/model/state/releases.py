"""The FreeBSD releases whose rules are modelled, and the states that their kernels assert never to occur.

A release decides nothing by itself: model/pmap/release.py turns it into facts of a pmap (PMAP), once, and rules ask for these.
"""

from __future__ import annotations

from typing import Final

# HOST.release.
FREEBSD_10_0: Final = 0  # release/10.0.0
FREEBSD_14_0: Final = 1  # 14.0-CURRENT, July 2022 (__FreeBSD_version 1400063)
FREEBSD_14_LATER: Final = 2  # with the changes of pmap.c from June to October 2023

# HOST.asserted: what a kernel with INVARIANTS would stop at.
ASSERT_WIRED_UNUSED: Final = 1
ASSERT_UNREADABLE: Final = 2
ASSERT_CLEAN_2M: Final = 3
ASSERT_WIRED_2M: Final = 4
ASSERT_UNWIRE: Final = 5
ASSERT_ACTIVE: Final = 6
ASSERT_NOT_FULL: Final = 7

ASSERTIONS: Final = {
    ASSERT_WIRED_UNUSED: "a wired superpage whose accessed bit is clear is to be demoted",
    ASSERT_UNREADABLE: "a superpage without EPT read would have EPT write, or EPT execute on a CPU without execute-only entries",
    ASSERT_CLEAN_2M: "a writable superpage is to be entered by an access that does not write",
    ASSERT_WIRED_2M: "a superpage is to be entered wired, which 14.0 never does",
    ASSERT_UNWIRE: "a mapping is to be unwired that is not wired",
    ASSERT_ACTIVE: "the mappings of an address space are to be discarded while CPUs execute in it",
    ASSERT_NOT_FULL: "a superpage is to be entered from a page that begins no full reservation",
}
"""In words, by code."""
