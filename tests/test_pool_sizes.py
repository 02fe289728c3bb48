"""Room for what a sequence of operations maps: enough in every case, and no more than could be needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from eptreplay.conform.pool_sizes import PoolSizes, pool_sizes_of
from eptreplay.model._numba.arrays import records
from eptreplay.model.recorded import operations
from eptreplay.model.recorded.codes import ARGUMENTS, NO_PAGE, RESULTS, Operation
from eptreplay.model.state.pte import PMAP_PDE_SUPERPAGE, PT_EPT
from eptreplay.model.state.state import Room, State, new_states, single

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.model._numba.types import Records

PAGES = 1024
REGIONS = np.array([[0, 1 << 21], [0x5000, 0x205000]], np.uint64)
AT_HOME = PoolSizes(
    tables=1 + 3 + 1 + 1, mappings=3 * 512 + 1
)  # three 2 MB stretches, the last of it misaligned


def an_operation(
    code: Operation, va: int, *, pm: int = 0, page: int = 0, n: int = 0, eva: int = 0
) -> Records:
    op = records(1, ARGUMENTS)
    op[0]["op"], op[0]["pm"], op[0]["va"], op[0]["eva"], op[0]["n"] = code, pm, va, eva, n
    op[0]["page"], op[0]["access"], op[0]["prot"] = page, 1, 7
    op[0]["arg"] = 1 - pm if code == Operation.COPY else 0
    return op


def run(ops: Sequence[Records], sizes: PoolSizes) -> State:
    """Carry out operations on two pmaps that have room for `sizes` each."""
    arguments = np.concatenate(ops).view(np.recarray)
    states = new_states(
        1,
        Room(pmaps=2, pages=PAGES, mappings=2 * sizes.mappings, tables=2 * sizes.tables),
        np.zeros(0, np.uint8),
        1 << 32,
    )
    st = single(states)
    for pm in range(2):
        operations.init_pmap(st, pm, PT_EPT, PMAP_PDE_SUPERPAGE, 0)
    operations.run_operations(st, REGIONS, 2, arguments, records(len(arguments), RESULTS))
    return st


def test_what_only_looks_at_addresses_needs_no_room() -> None:
    far = an_operation(Operation.REMOVE, 1 << 40, eva=1 << 47, page=NO_PAGE)
    assert pool_sizes_of(far, REGIONS, PAGES) == AT_HOME


def test_every_address_range_that_a_table_covers_is_counted_once() -> None:
    enters = [an_operation(Operation.ENTER, va) for va in (1 << 40, (1 << 40) + 4096, (1 << 40) + (1 << 30))]
    sizes = pool_sizes_of(np.concatenate(enters).view(np.recarray), REGIONS, PAGES)
    assert sizes == PoolSizes(AT_HOME.tables + 2 + 2 + 1, AT_HOME.mappings + 2 * 512)


def test_an_object_is_entered_no_further_than_its_last_page() -> None:
    whole = an_operation(Operation.ENTER_OBJECT, 1 << 40, eva=1 << 47, page=PAGES - 513)
    assert pool_sizes_of(whole, REGIONS, PAGES).mappings == AT_HOME.mappings + 2 * 512


def test_one_operation_may_take_all_the_room_there_is() -> None:
    """A mapping in every 512 GB of a pmap, and a copy of them all in the other, made by one pmap_copy."""
    enters = [an_operation(Operation.ENTER, (slot << 39) + 4096 * slot, page=slot) for slot in range(256)]
    ops = [*enters, an_operation(Operation.COPY, 0, eva=1 << 47, page=NO_PAGE)]
    sizes = pool_sizes_of(np.concatenate(ops).view(np.recarray), REGIONS, PAGES)
    st = run(ops, sizes)
    assert not st.host[0].exhausted
    assert st.host[0].ptp_used - 1 == 2 * (1 + 3 * 256)
    assert st.pmap[1].resident_count == 4 * 256


@given(
    some.lists(
        some.tuples(
            some.sampled_from([Operation.ENTER, Operation.ENTER_RUN, Operation.ENTER_OBJECT, Operation.COPY]),
            some.integers(0, 1),
            some.sampled_from([0, 9, 18, 27]),  # from neighbouring pages to neighbouring PML4 entries
            some.integers(0, 255),
            some.integers(0, PAGES // 2 - 1),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_operation_runs_out_of_room(chosen: list[tuple[Operation, int, int, int, int]]) -> None:
    ops = [an_operation(Operation.ALLOC_RUN, 0, pm=255, n=PAGES)]
    for code, pm, level, index, page in chosen:
        va = index << level + 12
        eva = min(va + (1 << 21), 1 << 47)
        ops.append(
            an_operation(code, va, pm=pm, page=NO_PAGE if code == Operation.COPY else page, n=300, eva=eva)
        )
    st = run(ops, pool_sizes_of(np.concatenate(ops).view(np.recarray), REGIONS, PAGES))
    assert not st.host[0].exhausted
