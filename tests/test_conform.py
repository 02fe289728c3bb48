"""Conformance: recorded answers of a real kernel, and what a wrong one looks like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay

from eptreplay.conform.arguments import check_arguments
from eptreplay.errors import TraceError
from eptreplay.model._numba.arrays import records
from eptreplay.model.recorded.codes import ARGUMENTS, NO_PAGE, Operation

if TYPE_CHECKING:
    from eptreplay.model._numba.types import Records

GOLDEN = Path(__file__).parent / "golden"
TRACES = Path(__file__).parents[1] / "traces"


def numbers(out: str) -> dict[str, int]:
    lines = [line.split() for line in out.splitlines() if line and line[0].isalpha()]
    return {line[0]: int(line[1].replace(",", "")) for line in lines if line[1].replace(",", "").isdigit()}


def copy_vectors(folder: Path, name: str, change: object = None) -> None:
    """Copy the vectors; `change` maps the table called `name` to another."""
    for path in (GOLDEN / "vectors").glob("*.parquet"):
        table = pq.read_table(path)
        if path.stem == name and callable(change):
            table = change(table)
        pq.write_table(table, folder / path.name)


def with_value(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    """Return a table with one value changed."""
    index = table.schema.get_field_index(column)
    values = table.column(column).to_pylist()
    values[row] = value
    return table.set_column(
        index, table.schema.field(column), pa.array(values, table.schema.field(column).type)
    )


def test_every_recorded_operation_is_answered_alike() -> None:
    answer = eptreplay("conform", GOLDEN / "vectors")
    assert answer.code == 0, answer.out
    found = numbers(answer.out)
    ops = pq.read_metadata(GOLDEN / "vectors/ops.parquet").num_rows
    assert found["operations"] == ops
    assert found["mismatches"] == 0
    assert found["compared"] > ops * 20


@pytest.mark.parametrize(
    ("folder", "release"),
    [("vectors14", "14.0-CURRENT 2022-07"), ("vectors14late", "14-later (2023-10 functions)")],
)
def test_every_recorded_operation_of_a_later_release_is_answered_alike(folder: str, release: str) -> None:
    answer = eptreplay("conform", GOLDEN / folder)
    assert answer.code == 0, answer.out
    assert f"release    {release}" in answer.out
    found = numbers(answer.out)
    assert found["operations"] == pq.read_metadata(GOLDEN / folder / "ops.parquet").num_rows
    assert found["mismatches"] == 0
    assert set(pq.read_table(GOLDEN / folder / "ops.parquet")["op"].to_pylist()) == {
        int(code) for code in Operation if code not in {Operation.CHANGE_WIRING, Operation.CHANGE_WIRING_RUN}
    }


@pytest.mark.parametrize("folder", ["vectors14", "vectors14late"])
def test_answers_of_a_later_release_are_not_those_of_another(tmp_path: Path, folder: str) -> None:
    other = {"vectors14": "14-later (2023-10 functions)", "vectors14late": "14.0-CURRENT 2022-07"}[folder]
    for path in (GOLDEN / folder).glob("*.parquet"):
        table = pq.read_table(path)
        if path.stem == "sequences":
            column = table.column_names.index("release")
            table = table.set_column(column, "release", pa.array([other] * table.num_rows))
        pq.write_table(table, tmp_path / path.name)
    found = [eptreplay("conform", tmp_path, "--sequence", str(number)).code for number in (1, 8)]
    assert any(found)  # a mismatch, or what the kernel asserts never to occur


def test_a_release_that_is_not_modelled_is_refused(tmp_path: Path) -> None:
    for path in (GOLDEN / "vectors14").glob("*.parquet"):
        table = pq.read_table(path)
        if path.stem == "sequences":
            column = table.column_names.index("release")
            table = table.set_column(column, "release", pa.array(["13.2-RELEASE"] * table.num_rows))
        pq.write_table(table, tmp_path / path.name)
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert "13.2-RELEASE" in answer.err
    assert "14.0-CURRENT 2022-07" in answer.err


@pytest.mark.parametrize(
    ("release", "code"),
    [(0, 35), (0, 36), (0, 37), (0, 38), (1, 12), (1, 13), (2, 12)],
)
def test_an_operation_that_a_release_does_not_have_is_refused(release: int, code: int) -> None:
    arguments = operation(Operation(code), 0, 1)
    with pytest.raises(TraceError, match="an operation that the release has"):
        check_arguments(arguments, 1, 1024, "made", release=release)


def test_what_the_kernel_asserts_never_to_occur_is_refused_by_name(tmp_path: Path) -> None:
    for path in (GOLDEN / "vectors14").glob("*.parquet"):
        table = pq.read_table(path)
        if path.stem == "ops":
            # The first 2 MB that are entered are entered by a read: the kernel wants a write where `prot` has one.
            row = table["op"].to_pylist().index(35)
            while not table["prot"][row].as_py() & 2:
                row += 1 + table["op"].to_pylist()[row + 1 :].index(35)
            table = with_value(table, "access", row, 1)
        pq.write_table(table, tmp_path / path.name)
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert "the kernel asserts that this never occurs: a writable superpage is to be entered" in answer.err


def test_every_checkpoint_of_the_sample_traces_is_reached_alike() -> None:
    answer = eptreplay("conform", GOLDEN / "replays", "--traces", TRACES)
    assert answer.code == 0, answer.out
    assert numbers(answer.out) == {
        "sequences": 54,
        "operations": 150_994_944,
        "compared": 4_608,
        "mismatches": 0,
    }


@pytest.mark.parametrize("column", ["ret", "leaf", "eptgen0", "ipis", "resident0", "p_failures", "pg_ref"])
def test_one_wrong_answer_is_found_and_shown(tmp_path: Path, column: str) -> None:
    def change(table: pa.Table) -> pa.Table:
        row = 20
        return with_value(table, column, row, table.column(column)[row].as_py() ^ 1)

    copy_vectors(tmp_path, "ops", change)
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 1
    assert numbers(answer.out)["mismatches"] == 1
    assert "operation 20" in answer.out
    assert f"{column} expected" in answer.out
    assert f"{column} found" in answer.out


def test_a_wrong_leaf_is_decoded_into_named_bits(tmp_path: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        levels = table.column("leaf_level").to_pylist()
        row = next(i for i, level in enumerate(levels) if level == 2)
        return with_value(table, "leaf", row, table.column("leaf")[row].as_py() ^ (1 << 11))

    copy_vectors(tmp_path, "ops", change)
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 1
    expected = next(line for line in answer.out.splitlines() if "entry expected" in line)
    assert " W " in f"{expected} "
    assert "MANAGED" in expected


def test_a_wrong_final_entry_is_found(tmp_path: Path) -> None:
    copy_vectors(
        tmp_path, "dump", lambda table: with_value(table, "raw", 9, table.column("raw")[9].as_py() ^ 4)
    )
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 1
    assert numbers(answer.out)["mismatches"] == 1
    assert "final tables" in answer.out


def test_a_wrong_final_page_is_found(tmp_path: Path) -> None:
    copy_vectors(
        tmp_path, "pages", lambda table: with_value(table, "dirty", 3, 1 - table.column("dirty")[3].as_py())
    )
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 1
    assert "final state of page" in answer.out


def test_a_page_that_should_not_be_allocated_is_found(tmp_path: Path) -> None:
    copy_vectors(tmp_path, "pages", lambda table: table.slice(1))
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 1
    assert "allocated" in answer.out


def test_one_wrong_counter_of_a_golden_replay_is_found(tmp_path: Path) -> None:
    source = GOLDEN / "replays/full-2vcpu.ept-emul.age.jsonl"
    head, *lines = (json.loads(line) for line in source.read_text().splitlines())
    lines[-1]["ts_referenced"] += 1
    (tmp_path / source.name).write_text("\n".join(json.dumps(line) for line in [head, *lines]))
    answer = eptreplay("conform", tmp_path, "--traces", TRACES)
    assert answer.code == 1
    assert numbers(answer.out)["mismatches"] == 1
    assert "ts_referenced" in answer.out
    assert "row 1,000,000" in answer.out


def test_single_sequences_can_be_replayed() -> None:
    seq = pq.read_table(GOLDEN / "vectors/sequences.parquet").column("seq")[0].as_py()
    answer = eptreplay("conform", GOLDEN / "vectors", "--sequence", seq)
    table = pq.read_table(GOLDEN / "vectors/ops.parquet", columns=["seq"])
    assert numbers(answer.out)["operations"] == pc.sum(pc.equal(table.column("seq"), seq)).as_py()


def test_a_missing_trace_is_named(tmp_path: Path) -> None:
    answer = eptreplay("conform", GOLDEN / "replays", "--traces", tmp_path)
    assert answer.code == 2
    assert "--traces" in answer.err


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert "nothing to replay" in answer.err


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    copy_vectors(tmp_path, "ops", lambda table: table.drop_columns(["p_failures"]))
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert "p_failures" in answer.err


def test_a_recording_is_answered_alike_without_compiled_kernels() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "eptreplay", "conform", GOLDEN / "vectors", "--sequence", "0"],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert numbers(found.stdout)["operations"] == 400
    assert numbers(found.stdout)["mismatches"] == 0


WILD = {
    "an unknown operation": ("op", 99, "column 'op'"),
    "a pmap that the sequence lacks": ("pm", 1, "column 'pm'"),
    "a page beyond the last": ("page", 1 << 30, "column 'page'"),
    "a run beyond the last page": ("n", 1 << 30, "column 'n'"),
    "an address of the kernel": ("va", 1 << 63, "column 'va'"),
    "a range that ends beyond the user half": ("eva", 1 << 48, "column 'eva'"),
    "an access of no kind": ("access", 0, "column 'access'"),
}


@pytest.mark.parametrize("name", WILD)
def test_operations_that_no_kernel_was_asked_are_refused(tmp_path: Path, name: str) -> None:
    column, value, message = WILD[name]

    def change(table: pa.Table) -> pa.Table:
        codes = table.column("op").to_pylist()
        return with_value(table, column, codes.index(24), value)  # access_run

    copy_vectors(tmp_path, "ops", change)
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert message in answer.err


END = 1 << 47  # of what a user can reach


@pytest.mark.parametrize(
    ("code", "va", "n"),
    [
        (Operation.ACCESS, END - 1, 0),
        (Operation.EXTRACT, END - 4095, 0),
        (Operation.ACCESS_RUN, END - 2 * 4096 + 7, 2),
        (Operation.CHANGE_WIRING_RUN, 4096, 700),  # more addresses than there are pages
    ],
)
def test_what_a_kernel_can_be_asked_is_replayed(code: Operation, va: int, n: int) -> None:
    check_arguments(operation(code, va, n), pmaps=1, pages=512, where="a sequence")


@pytest.mark.parametrize(("va", "n"), [(END, 1), (END - 1, 2), (END - 2 * 4096 + 7, 3)])
def test_no_run_reaches_beyond_the_user_half(va: int, n: int) -> None:
    with pytest.raises(TraceError, match="addresses below"):
        check_arguments(operation(Operation.ACCESS_RUN, va, n), pmaps=1, pages=512, where="a sequence")


@pytest.mark.parametrize(("va", "eva"), [(4097, 8192), (4096, 8191)])
def test_a_range_that_ends_within_a_page_is_refused(va: int, eva: int) -> None:
    arguments = operation(Operation.REMOVE, va, 0)
    arguments[0]["eva"] = eva
    with pytest.raises(TraceError, match="a multiple of 4096"):
        check_arguments(arguments, pmaps=1, pages=512, where="a sequence")


def test_wiring_where_nothing_is_mapped_is_refused(tmp_path: Path) -> None:
    """pmap.c pmap_change_wiring, FreeBSD 10.0, takes it for granted that there is a mapping."""

    def change(table: pa.Table) -> pa.Table:
        row = table.column("op").to_pylist().index(24)  # access_run
        return with_value(with_value(table, "op", row, int(Operation.CHANGE_WIRING)), "va", row, 1 << 46)

    copy_vectors(tmp_path, "ops", change)
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert "an address that is mapped" in answer.err


def operation(code: Operation, va: int, n: int) -> Records:
    """Return a single operation that reads from addresses of pmap 0."""
    arguments = records(1, ARGUMENTS)
    arguments[0]["op"], arguments[0]["va"], arguments[0]["n"] = code, va, n
    arguments[0]["page"], arguments[0]["access"] = NO_PAGE, 1
    return arguments


@pytest.mark.parametrize(
    ("column", "value"), [("n_regions", 0), ("n_regions", None), ("type0", 7), ("va0", [5]), ("pbase", 4096)]
)
def test_a_sequence_that_no_host_could_run_is_refused(tmp_path: Path, column: str, value: object) -> None:
    def change(table: pa.Table) -> pa.Table:
        return with_value(table, column, 0, value)

    copy_vectors(tmp_path, "sequences", change)
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert f"column '{column}'" in answer.err


def test_rows_of_a_sequence_must_stand_together(tmp_path: Path) -> None:
    copy_vectors(tmp_path, "ops", lambda table: table.take([*range(1, table.num_rows), 0]))
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert "column 'seq'" in answer.err
