"""Codes, arguments and results of recorded operations."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Operation(IntEnum):
    """Codes of the operations."""

    ENTER = 1
    ENTER_RUN = 2
    REMOVE = 3
    PROTECT = 4
    REMOVE_ALL = 5
    REMOVE_WRITE = 6
    CLEAR_MODIFY = 7
    IS_MODIFIED = 8
    IS_REFERENCED = 9
    TS_REFERENCED = 10
    TS_RUN = 11
    CHANGE_WIRING = 12
    CHANGE_WIRING_RUN = 13
    ADVISE = 14
    EXTRACT = 15
    EMULATE_AD = 16
    ENTER_OBJECT = 17
    ENTER_QUICK = 18
    OBJECT_INIT_PT = 19
    MINCORE = 20
    COPY = 21
    ACCESS = 22
    ACCESS_FAULT = 23
    ACCESS_RUN = 24
    SET_ACTIVE = 25
    ALLOC_RUN = 26
    PAGE_FREE = 27
    UNDIRTY = 28
    REMOVE_PAGES = 29
    WIRED_MAPPINGS = 30
    IS_MAPPED = 31
    IS_PREFAULTABLE = 32
    EXISTS_QUICK = 33
    ACCESS_PERM_RUN = 34
    ENTER_2M = 35
    UNWIRE = 36
    UNWIRE_RUN = 37
    SET_ALLOW_2M_X = 38


# One operation.  `pm` is 255 and `page` -1 where an operation has none.
ARGUMENTS = np.dtype(
    [
        ("op", np.int64),  # code, see Operation
        ("pm", np.int64),  # number of the pmap
        ("va", np.uint64),  # byte address
        ("eva", np.uint64),  # end of the range, byte address
        ("page", np.int64),  # page
        ("n", np.int64),  # pages in a run
        ("prot", np.int64),  # rights, VM_PROT_*
        ("access", np.int64),  # kind of access, VM_PROT_*
        ("wired", np.int64),  # 0 or 1
        ("arg", np.uint64),  # advice, CPU mask, other pmap or stride
        ("want_sum", np.int64),  # 1: compute state_sum
    ],
    align=True,
)

# What an operation answered, and the state after it.
RESULTS = np.dtype(
    [
        ("ret", np.int64),
        ("leaf_level", np.int64),  # 0 nothing mapped at va, 1 a PTE, 2 a superpage
        ("leaf", np.uint64),  # that entry
        ("traps", np.int64),  # hardware faults taken in this operation, at most 255
        ("eptgen0", np.int64),
        ("eptgen1", np.int64),
        ("ipis", np.int64),
        ("x86_ipis", np.int64),
        ("resident0", np.int64),
        ("resident1", np.int64),
        ("wired0", np.int64),
        ("wired1", np.int64),
        ("promotions", np.int64),
        ("demotions", np.int64),
        ("mappings", np.int64),
        ("p_failures", np.int64),
        ("inv_page", np.int64),
        ("inv_range", np.int64),
        ("inv_all", np.int64),
        ("dirty_calls", np.int64),
        ("pg_dirty", np.int64),
        ("pg_ref", np.int64),
        ("pg_writeable", np.int64),
        ("state_sum", np.uint64),
    ],
    align=True,
)

NO_PAGE = -1
MOST_TRAPS = 255  # what RESULTS.traps stops at
RUN_SHIFT = 16  # bits per outcome in what a run of accesses answers

# Plain integers: a kernel reads members of an enumeration as constants only through names like these.
ENTER = int(Operation.ENTER)
ENTER_RUN = int(Operation.ENTER_RUN)
REMOVE = int(Operation.REMOVE)
PROTECT = int(Operation.PROTECT)
REMOVE_ALL = int(Operation.REMOVE_ALL)
REMOVE_WRITE = int(Operation.REMOVE_WRITE)
CLEAR_MODIFY = int(Operation.CLEAR_MODIFY)
IS_MODIFIED = int(Operation.IS_MODIFIED)
IS_REFERENCED = int(Operation.IS_REFERENCED)
TS_REFERENCED = int(Operation.TS_REFERENCED)
TS_RUN = int(Operation.TS_RUN)
CHANGE_WIRING = int(Operation.CHANGE_WIRING)
CHANGE_WIRING_RUN = int(Operation.CHANGE_WIRING_RUN)
ADVISE = int(Operation.ADVISE)
EXTRACT = int(Operation.EXTRACT)
EMULATE_AD = int(Operation.EMULATE_AD)
ENTER_OBJECT = int(Operation.ENTER_OBJECT)
ENTER_QUICK = int(Operation.ENTER_QUICK)
OBJECT_INIT_PT = int(Operation.OBJECT_INIT_PT)
MINCORE = int(Operation.MINCORE)
COPY = int(Operation.COPY)
ACCESS = int(Operation.ACCESS)
ACCESS_FAULT = int(Operation.ACCESS_FAULT)
ACCESS_RUN = int(Operation.ACCESS_RUN)
SET_ACTIVE = int(Operation.SET_ACTIVE)
ALLOC_RUN = int(Operation.ALLOC_RUN)
PAGE_FREE = int(Operation.PAGE_FREE)
UNDIRTY = int(Operation.UNDIRTY)
REMOVE_PAGES = int(Operation.REMOVE_PAGES)
WIRED_MAPPINGS = int(Operation.WIRED_MAPPINGS)
IS_MAPPED = int(Operation.IS_MAPPED)
IS_PREFAULTABLE = int(Operation.IS_PREFAULTABLE)
EXISTS_QUICK = int(Operation.EXISTS_QUICK)
ACCESS_PERM_RUN = int(Operation.ACCESS_PERM_RUN)
ENTER_2M = int(Operation.ENTER_2M)
UNWIRE = int(Operation.UNWIRE)
UNWIRE_RUN = int(Operation.UNWIRE_RUN)
SET_ALLOW_2M_X = int(Operation.SET_ALLOW_2M_X)
