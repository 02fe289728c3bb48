"""Vectors: single operations on a pmap, with every result and the final tables, replayed and compared.

docs/conformance.md describes the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eptreplay.conform.arguments import SEQUENCE_COLUMNS, check_arguments, check_sequence
from eptreplay.conform.pool_sizes import PoolSizes, pool_sizes_of
from eptreplay.conform.releases import refuse_asserted, release_of, release_text
from eptreplay.conform.report import Mismatch, Report
from eptreplay.errors import TraceError, UsageError
from eptreplay.model._numba.arrays import records
from eptreplay.model.recorded import codes, operations
from eptreplay.model.recorded.checksum import dump_entries
from eptreplay.model.state import pte
from eptreplay.model.state.pages import PG_FICTITIOUS, PGA_REFERENCED, PGA_WRITEABLE, VPO_UNMANAGED
from eptreplay.model.state.state import Room, State, new_states, single

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eptreplay.model._numba.types import Record, Records

Columns = dict[str, Any]


def has_vectors(folder: Path) -> bool:
    """Return whether a folder holds vectors."""
    return (folder / "sequences.parquet").exists() and (folder / "ops.parquet").exists()


def _read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a whole Parquet file.

    Raises:
        TraceError: it is not there, damaged, or lacks a column.
    """
    try:
        return pq.read_table(path, columns=list(columns) if columns else None)
    except FileNotFoundError as error:
        raise TraceError(
            str(path), "no such file", advice="see docs/conformance.md for the files a folder must hold"
        ) from error
    except (pa.ArrowException, OSError, KeyError) as error:
        raise TraceError(
            str(path), f"cannot be read: {error}", expected="a Parquet file of recorded operations"
        ) from error


def _missing_column(path: Path, name: str) -> TraceError:
    return TraceError(str(path), "missing column", column=name, expected="the columns of docs/conformance.md")


def _column(table: pa.Table, name: str, path: Path) -> NDArray[Any]:
    """Return one column without nulls; null becomes 0."""
    if name not in table.column_names:
        raise _missing_column(path, name)
    column = table.column(name)
    if column.null_count:
        column = column.fill_null(0)
    values: NDArray[Any] = column.to_numpy()
    return values


class _Vectors(NamedTuple):
    """The files of a folder of vectors, as columns; `ops`, `dump` and `pages` sorted by sequence."""

    folder: Path
    sequences: list[dict[str, Any]]
    ops: Columns
    has_sum: NDArray[np.bool_]
    dump: Columns | None
    pages: Columns | None


def _read_sequences(path: Path) -> list[dict[str, Any]]:
    """Return one dictionary per sequence.

    Raises:
        TraceError: the file is damaged, lacks a column, or describes no possible host.
    """
    table = _read(path)
    missing = [name for name in SEQUENCE_COLUMNS if name not in table.column_names]
    if missing:
        raise _missing_column(path, missing[0])
    sequences: list[dict[str, Any]] = table.to_pylist()
    for number, sequence in enumerate(sequences):
        check_sequence(sequence, f"{path}, row {number}")
    return sequences


def _load_vectors(folder: Path) -> _Vectors:
    ops_path = folder / "ops.parquet"
    table = _read(ops_path)
    arguments = [name for name in codes.ARGUMENTS.names or () if name != "want_sum"]
    names = ["seq", *arguments, *(codes.RESULTS.names or ())]
    ops = {name: _column(table, name, ops_path) for name in names}
    if np.any(ops["seq"][1:] < ops["seq"][:-1]):
        raise TraceError(
            str(ops_path),
            "the rows are out of order",
            column="seq",
            expected="all rows of a sequence together",
        )
    has_sum = table.column("state_sum").is_valid().to_numpy()
    return _Vectors(
        folder,
        _read_sequences(folder / "sequences.parquet"),
        ops,
        has_sum,
        _optional(folder / "dump.parquet", ("seq", "pm", "level", "va", "raw")),
        _optional(folder / "pages.parquet", ("seq", "page", "dirty", "referenced", "writeable")),
    )


def _optional(path: Path, names: Sequence[str]) -> Columns | None:
    if not path.exists():
        return None
    table = _read(path, names)
    return {name: _column(table, name, path) for name in names}


def check_vectors(
    folder: Path, *, only: frozenset[int] | None = None, on_rows: Callable[[str, int], None] | None = None
) -> Report:
    """Replay the vectors of a folder and compare every field after every operation, and the final state.

    Args:
        folder: holds the files named above.
        only: numbers of the sequences to replay; None for all.
        on_rows: called with the name of a sequence and its number of operations, when it is done.

    Raises:
        TraceError: a file is missing or damaged.
        UsageError: there is no sequence of such a number.
    """
    vectors = _load_vectors(folder)
    _refuse_unknown(only or frozenset(), vectors, folder)
    report = Report()
    for sequence in vectors.sequences:
        if only is not None and sequence["seq"] not in only:
            continue
        found = _check_sequence(vectors, sequence)
        report.add(found)
        if on_rows is not None:
            on_rows(f"sequence {sequence['seq']}", found.operations)
    return report


def _refuse_unknown(only: frozenset[int], vectors: _Vectors, folder: Path) -> None:
    """Refuse numbers that no sequence has: nothing would be compared for them."""
    known = {sequence["seq"] for sequence in vectors.sequences}
    if only - known:
        raise UsageError(
            f"--sequence {min(only - known)}: {folder} has no such sequence; its {len(known):,} have numbers from "
            f"{min(known, default=0)} to {max(known, default=0)}"
        )


class _Rows(NamedTuple):
    """One sequence: arguments, results expected, and the slice of the ops file it stands in."""

    arguments: Records
    expected: Columns
    where: str


def _sequence_rows(vectors: _Vectors, sequence: dict[str, Any]) -> _Rows:
    begin, end = np.searchsorted(vectors.ops["seq"], [sequence["seq"], sequence["seq"] + 1])
    arguments = records(int(end - begin), codes.ARGUMENTS)
    for name in codes.ARGUMENTS.names or ():
        arguments[name] = vectors.has_sum[begin:end] if name == "want_sum" else vectors.ops[name][begin:end]
    expected = {name: vectors.ops[name][begin:end] for name in codes.RESULTS.names or ()}
    return _Rows(arguments, expected, f"{vectors.folder.name}, sequence {sequence['seq']}")


def _new_host(sequence: dict[str, Any], regions: NDArray[np.uint64], sizes: PoolSizes) -> State:
    """Return the host that a sequence begins with: unused pages, the last regions device memory, empty pmaps.

    Args:
        sequence: its row of sequences.parquet.
        regions: shape [pmaps, regions]: where each begins, byte addresses.
        sizes: the most that each pmap can hold.
    """
    pages = pte.NPTEPG * sequence["n_regions"]
    states = new_states(
        1,
        Room(len(regions), pages, len(regions) * sizes.mappings, len(regions) * sizes.tables),
        np.zeros(0, np.uint8),
        sequence["pbase"],
    )
    st = single(states)
    st.host.release[:] = release_of(sequence, "")
    st.host.allow_2m_x_ept[:] = sequence.get("allow_2m_x", 0)
    st.page.oflags[pages - pte.NPTEPG * sequence["n_dev"] :] = PG_FICTITIOUS | VPO_UNMANAGED
    for pm in range(len(regions)):
        operations.init_pmap(
            st, pm, sequence[f"type{pm}"], sequence[f"flags{pm}"], sequence[f"pmap_low9_{pm}"]
        )
    return st


def _check_sequence(vectors: _Vectors, sequence: dict[str, Any]) -> Report:
    rows = _sequence_rows(vectors, sequence)
    pmaps = 2 if sequence["type1"] >= 0 else 1
    regions = np.array([sequence[f"va{pm}"] for pm in range(pmaps)], np.uint64)
    pages = regions.shape[1] * pte.NPTEPG
    release = release_of(sequence, rows.where)
    check_arguments(rows.arguments, pmaps, pages, rows.where, copies=_can_copy(sequence), release=release)
    st = _new_host(sequence, regions, pool_sizes_of(rows.arguments, regions, pages))
    results = records(len(rows.arguments), codes.RESULTS)
    with np.errstate(over="ignore"):
        done = int(operations.run_operations(st, regions, pmaps, rows.arguments, results))
    if done < len(results):
        refuse_asserted(st, f"{rows.where}, operation {done}", _describe(rows.arguments[done]))
    if done < len(results):
        raise TraceError(
            f"{rows.where}, operation {done}",
            f"no kernel answers {_describe(rows.arguments[done])}",
            column="va",
            expected="an address that is mapped, and if by a superpage, one that was used",
        )
    report = Report(sequences=1, operations=len(results), releases={release_text(sequence)})
    _compare_results(report, sequence, rows, results)
    _compare_dump(report, sequence, st, pmaps, vectors.dump, rows.where)
    _compare_pages(report, sequence, st, vectors.pages, rows.where)
    del report.first[1:]
    return report


def _can_copy(sequence: dict[str, Any]) -> bool:
    """Return whether the bits of an entry mean the same in both pmaps; pmap_copy looks at the format alone."""
    emulated = [bool((sequence[f"flags{pm}"] or 0) & pte.PMAP_EMULATE_AD_BITS) for pm in range(2)]
    return bool(sequence["type0"] != sequence["type1"] or emulated[0] == emulated[1])


def _compare_results(
    report: Report,
    sequence: dict[str, Any],
    rows: _Rows,
    results: Records,
) -> None:
    """Compare every field after every operation."""
    first: tuple[int, str] | None = None
    for name in codes.RESULTS.names or ():
        expected = rows.expected[name].astype(results[name].dtype)
        counts = rows.arguments["want_sum"] != 0 if name == "state_sum" else np.ones(len(results), bool)
        differ = np.flatnonzero((expected != results[name]) & counts)
        report.values += int(counts.sum())
        report.mismatches += len(differ)
        if len(differ) and (first is None or differ[0] < first[0]):
            first = (int(differ[0]), name)
    if first is None:
        return
    i, name = first
    operation = rows.arguments[i]
    report.first.append(
        Mismatch(
            rows.where,
            f"operation {i}, {_describe(operation)}",
            name,
            int(rows.expected[name][i]),
            int(results[name][i]),
            _leaf_detail(sequence, operation, rows.expected, results, i),
        )
    )


def _describe(operation: Record) -> str:
    """Return an operation with its arguments as one would write it."""
    name = codes.Operation(int(operation["op"])).name.lower()
    given = [f"va={int(operation['va']):#x}"]
    given += [f"eva={int(operation['eva']):#x}"] if operation["eva"] else []
    given += [
        f"{field}={int(operation[field])}" for field in ("pm", "page", "n", "prot", "access", "wired", "arg")
    ]
    return f"{name}({', '.join(given)})"


def _leaf_detail(
    sequence: dict[str, Any],
    operation: Record,
    expected: Columns,
    results: Records,
    i: int,
) -> tuple[str, ...]:
    """Return both leaf entries decoded into named bits."""
    pm = int(operation["pm"])
    if pm > 1:
        return ()
    pmap = (sequence[f"type{pm}"], sequence[f"flags{pm}"])
    return (
        "entry expected: " + _entry(int(expected["leaf"][i]), int(expected["leaf_level"][i]), pmap),
        "entry found:    " + _entry(int(results["leaf"][i]), int(results["leaf_level"][i]), pmap),
    )


def _entry(raw: int, level: int, pmap: tuple[int, int]) -> str:
    """Return an entry as hexadecimal, level and named bits."""
    if level == 0:
        return "none"
    return f"{raw:#018x} level {level} {' '.join(pte.names(raw, *pmap, level))}"


def _compare_dump(
    report: Report, sequence: dict[str, Any], st: State, pmaps: int, dump: Columns | None, where: str
) -> None:
    """Compare every entry of the final tables."""
    if dump is None:
        return
    begin, end = np.searchsorted(dump["seq"], [sequence["seq"], sequence["seq"] + 1])
    for pm in range(pmaps):
        rows = np.flatnonzero(dump["pm"][begin:end] == pm) + begin
        expected = {(int(dump["level"][i]), int(dump["va"][i])): int(dump["raw"][i]) for i in rows}
        found = _dump(st, pm)
        pmap = (sequence[f"type{pm}"], sequence[f"flags{pm}"])
        report.values += len(expected.keys() | found.keys())
        differ = [
            key for key in sorted(expected.keys() | found.keys()) if expected.get(key) != found.get(key)
        ]
        report.mismatches += len(differ)
        if differ:
            level, va = differ[0]
            raws = expected.get(differ[0], 0), found.get(differ[0], 0)
            detail = tuple(
                f"entry {word} {_entry(raw, level, pmap)}"
                for word, raw in zip(("expected:", "found:   "), raws, strict=True)
            )
            report.first.append(
                Mismatch(where, f"final tables, pmap {pm}, level {level}, va {va:#x}", "raw", *raws, detail)
            )


def _dump(st: State, pm: int) -> dict[tuple[int, int], int]:
    """Return every entry of a pmap that is not zero, by level and address."""
    room = 1 << 14
    while True:
        levels, vas, raws = np.zeros(room, np.uint8), np.zeros(room, np.uint64), np.zeros(room, np.uint64)
        found = int(dump_entries(st, pm, levels, vas, raws))
        if found <= room:
            return {(int(levels[i]), int(vas[i])): int(raws[i]) for i in range(found)}
        room = found


def _compare_pages(
    report: Report, sequence: dict[str, Any], st: State, pages: Columns | None, where: str
) -> None:
    """Compare the final state of every allocated page."""
    if pages is None:
        return
    begin, end = np.searchsorted(pages["seq"], [sequence["seq"], sequence["seq"] + 1])
    expected_allocated = np.zeros(len(st.page), np.int64)
    expected_allocated[pages["page"][begin:end]] = 1
    _compare_column(
        report, where, "allocated", np.arange(len(st.page)), expected_allocated, st.page.allocated
    )
    numbers = pages["page"][begin:end]
    page = st.page[numbers]
    found = {
        "dirty": page.dirty,
        "referenced": (page.aflags & PGA_REFERENCED) != 0,
        "writeable": (page.aflags & PGA_WRITEABLE) != 0,
    }
    for name, values in found.items():
        _compare_column(report, where, name, numbers, pages[name][begin:end], values)


def _compare_column(
    report: Report, where: str, name: str, numbers: NDArray[Any], expected: NDArray[Any], found: NDArray[Any]
) -> None:
    """Compare one field of pages."""
    differ = np.flatnonzero(expected.astype(np.int64) != found.astype(np.int64))
    report.values += len(numbers)
    report.mismatches += len(differ)
    if len(differ):
        i = int(differ[0])
        report.first.append(
            Mismatch(where, f"final state of page {int(numbers[i])}", name, int(expected[i]), int(found[i]))
        )
