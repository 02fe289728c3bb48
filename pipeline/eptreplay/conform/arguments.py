"""Checking recorded sequences, which may come from anywhere, before they are carried out.

Kernels do not check what they are given, so a damaged recording must be refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.conform.releases import release_of
from eptreplay.errors import TraceError
from eptreplay.model.recorded.codes import NO_PAGE, RUN_SHIFT, Operation
from eptreplay.model.state import pte
from eptreplay.model.state.releases import FREEBSD_10_0

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eptreplay.model._numba.types import Records

SEQUENCE_COLUMNS = (
    *("seq", "n_regions", "n_dev", "pbase"),
    *("type0", "flags0", "pmap_low9_0", "va0"),
    *("type1", "flags1", "pmap_low9_1", "va1"),
)
REGIONS_MAX = 1 << 12
RUN_MAX = (1 << RUN_SHIFT) - 1  # what a run answers is counted in fields of 16 bits
NO_PMAP = 255

_RUNS_OF_PAGES = (Operation.ENTER_RUN, Operation.TS_RUN, Operation.OBJECT_INIT_PT, Operation.ALLOC_RUN)
_RUNS_OF_ADDRESSES = (
    Operation.ENTER_RUN,
    Operation.CHANGE_WIRING_RUN,
    Operation.OBJECT_INIT_PT,
    Operation.ACCESS_RUN,
    Operation.ACCESS_PERM_RUN,
    Operation.UNWIRE_RUN,
)
_PAGE_ALONE = (
    Operation.REMOVE_ALL,
    Operation.REMOVE_WRITE,
    Operation.CLEAR_MODIFY,
    Operation.IS_MODIFIED,
    Operation.IS_REFERENCED,
    Operation.TS_REFERENCED,
    Operation.TS_RUN,
    Operation.ALLOC_RUN,
    Operation.PAGE_FREE,
    Operation.UNDIRTY,
    Operation.WIRED_MAPPINGS,
    Operation.IS_MAPPED,
)
_ADDRESS_AND_PAGE = (
    Operation.ENTER,
    Operation.ENTER_RUN,
    Operation.ENTER_OBJECT,
    Operation.ENTER_QUICK,
    Operation.OBJECT_INIT_PT,
    Operation.EXISTS_QUICK,
    Operation.ENTER_2M,
)
_WHOLE_PAGES = (
    Operation.REMOVE,
    Operation.PROTECT,
    Operation.ADVISE,
    Operation.ENTER_OBJECT,
    Operation.ENTER_QUICK,
    Operation.OBJECT_INIT_PT,
    Operation.COPY,
    Operation.ENTER_2M,
    Operation.UNWIRE,
    Operation.UNWIRE_RUN,
)
_ACCESSES = (
    Operation.ACCESS,
    Operation.ACCESS_FAULT,
    Operation.ACCESS_RUN,
    Operation.ACCESS_PERM_RUN,
    Operation.EMULATE_AD,
)


_ONLY_10_0 = (Operation.CHANGE_WIRING, Operation.CHANGE_WIRING_RUN)
_NOT_10_0 = (Operation.ENTER_2M, Operation.UNWIRE, Operation.UNWIRE_RUN, Operation.SET_ALLOW_2M_X)


class _Rule(NamedTuple):
    """A rule for one argument: which operations keep it, and what is expected."""

    column: str
    kept: NDArray[np.bool_]
    expected: str


def check_sequence(sequence: Mapping[str, Any], where: str) -> None:
    """Refuse a row of sequences.parquet that describes no possible host.

    Raises:
        TraceError: with the column.
    """
    second = ("type1", "flags1", "pmap_low9_1", "va1") if sequence["type1"] == -1 else ()
    for column in SEQUENCE_COLUMNS:
        if sequence[column] is None and column not in second:
            raise TraceError(where, "the value is null", column=column, expected="a value")
    regions = sequence["n_regions"]
    release = release_of(sequence, where)
    types = (pte.PT_X86, pte.PT_EPT) if release == FREEBSD_10_0 else (pte.PT_X86, pte.PT_EPT, pte.PT_RVI)
    rules = {
        "n_regions": (0 < regions <= REGIONS_MAX, f"1 to {REGIONS_MAX:,} regions"),
        "n_dev": (0 <= sequence["n_dev"] <= regions, "no more than n_regions"),
        "pbase": (
            sequence["pbase"] % int(pte.NBPDR) == 0 and 0 <= sequence["pbase"] < int(pte.PTP_BASE) >> 1,
            "a multiple of 2 MB below 2^49",
        ),
        "type0": (sequence["type0"] in types, f"one of {types}"),
        "type1": (sequence["type1"] in (-1, *types), f"-1, or one of {types}"),
        "allow_2m_x": (sequence.get("allow_2m_x", 0) in (0, 1), "0 or 1"),
        "va0": (_are_regions(sequence["va0"], regions), "an address below 2^47 for each region"),
        "va1": (
            sequence["type1"] < 0 or _are_regions(sequence["va1"], regions),
            "an address below 2^47 for each region",
        ),
    }
    for column, (kept, expected) in rules.items():
        if not kept:
            raise TraceError(
                where, f"the value is {str(sequence[column])[:60]}", column=column, expected=expected
            )


def _are_regions(addresses: object, regions: int) -> bool:
    """Return whether these are the addresses of as many regions, all of them in the user half."""
    return (
        isinstance(addresses, list)
        and len(addresses) == regions
        and all(0 <= va <= int(pte.VM_MAXUSER_ADDRESS) - int(pte.NBPDR) for va in addresses)
    )


def check_arguments(
    arguments: Records,
    pmaps: int,
    pages: int,
    where: str,
    *,
    copies: bool = True,
    release: int = FREEBSD_10_0,
) -> None:
    """Refuse operations that concern no pmap, page or address of the sequence.

    Args:
        arguments: ARGUMENTS [operations].
        pmaps: address spaces of the sequence.
        pages: physical pages of the sequence.
        where: names the sequence in messages.
        copies: whether one pmap can be copied to the other.
        release: the release that answered, which has not all operations.

    Raises:
        TraceError: with the operation and the column.
    """
    for rule in [*_release_rules(arguments, release), *_rules(arguments, pmaps, pages, copies=copies)]:
        wrong = np.flatnonzero(~rule.kept)
        if len(wrong):
            i = int(wrong[0])
            raise TraceError(
                f"{where}, operation {i}",
                f"the value is {int(arguments[rule.column][i])}",
                column=rule.column,
                expected=rule.expected,
            )


def _release_rules(arguments: Records, release: int) -> list[_Rule]:
    """Return the rules for operations that not every release has."""
    op, page, va = arguments["op"], arguments["page"], arguments["va"]
    missing = _NOT_10_0 if release == FREEBSD_10_0 else _ONLY_10_0
    large = op == Operation.ENTER_2M
    return [
        _Rule("op", ~np.isin(op, missing), "an operation that the release has, see docs/conformance.md"),
        _Rule("page", ~large | (page % pte.NPTEPG == 0), "a multiple of 512"),
        _Rule("va", ~large | (va & pte.PDRMASK == 0), "a multiple of 2 MB"),
        _Rule(
            "arg",
            (op != Operation.SET_ALLOW_2M_X) | (arguments["arg"] <= np.uint64(1)),
            "0 or 1",
        ),
    ]


def _rules(arguments: Records, pmaps: int, pages: int, *, copies: bool) -> list[_Rule]:
    op, pm, page, n = arguments["op"], arguments["pm"], arguments["page"], arguments["n"]
    alone = np.isin(op, _PAGE_ALONE)
    end = int(pte.VM_MAXUSER_ADDRESS)
    last = np.uint64(end - 1)
    no_pmap = alone | (op == Operation.SET_ALLOW_2M_X)
    needs_page = alone | np.isin(op, _ADDRESS_AND_PAGE)
    reach = np.where(np.isin(op, _RUNS_OF_ADDRESSES), n, 1)
    low = arguments["va"] <= last
    further = (last - np.where(low, arguments["va"], last)) >> pte.PAGE_SHIFT
    parts = ~np.isin(op, _WHOLE_PAGES)
    return [
        _Rule("op", np.isin(op, list(Operation)), "a code of docs/conformance.md"),
        _Rule(
            "pm",
            np.where(no_pmap, pm == NO_PMAP, (pm >= 0) & (pm < pmaps)),
            f"0 to {pmaps - 1}, and {NO_PMAP} for an operation on a page or on the kernel",
        ),
        _Rule(
            "page",
            (page < pages) & (page >= np.where(needs_page, 0, NO_PAGE)),
            f"0 to {pages - 1:,}, or {NO_PAGE} where the operation has none",
        ),
        _Rule(
            "n",
            (n >= 0) & (reach <= RUN_MAX) & (~np.isin(op, _RUNS_OF_PAGES) | (n <= pages - page)),
            f"a run of pages that exist, or of up to {RUN_MAX:,} addresses",
        ),
        _Rule("va", low & (no_pmap | (reach <= further.astype(np.int64) + 1)), "addresses below 2^47"),
        _Rule("eva", arguments["eva"] <= np.uint64(end), "an address up to 2^47"),
        *(
            _Rule(column, parts | (arguments[column] & pte.PAGE_MASK == 0), "a multiple of 4096")
            for column in ("va", "eva")
        ),
        _Rule(
            "access",
            np.where(
                np.isin(op, _ACCESSES), np.isin(arguments["access"], [1, 2, 4]), arguments["access"] < 8
            ),
            "1, 2 or 4 for an access",
        ),
        _Rule(
            "arg",
            (op != Operation.COPY) | ((arguments["arg"] < np.uint64(pmaps)) & copies),
            "another pmap of the same kind",
        ),
    ]
