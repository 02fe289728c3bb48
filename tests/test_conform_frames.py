"""`eptreplay conform` on recordings of reservations and of wiring: small ones made here, by the rules, and spoiled ones."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from eptreplay.conform import check, kinds_in
from eptreplay.conform.kinds import RESERVATIONS, WIRING
from eptreplay.errors import TraceError
from eptreplay.model.vm.vm_limits import limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES = 2048
AT_FIRST = {"free_lists": [[0, 11, [0]]], "free": FRAMES}


def reservations() -> dict[str, Any]:
    """A page reserves a block, a kernel page takes the largest run, and the reservation ends with its last page."""
    counters = {"new_reservations": 1, "freed": 0, "reclaimed": 0}
    steps = [
        {"op": ["alloc", 0, 5], "frame": 5, "how": 2, "free": 2047, **counters, "whole": 3, "partpop": [[0, 1]],
         "free_lists": [[0, 9, [512]], [0, 10, [1024]]]},
        {"op": ["kalloc"], "id": 0, "frame": 1024, "free": 2046, **counters, "whole": 2, "partpop": [[0, 1]],
         "free_lists": [[0, 9, [512]], *([1, order, [1024 + (1 << order)]] for order in range(10))]},
        {"op": ["free", 0, 5], "free": 2047, **counters, "freed": 1, "whole": 3, "partpop": [],
         "free_lists": [[0, 10, [0]], *([1, order, [1024 + (1 << order)]] for order in range(10))]},
        {"op": ["kfree", 0], "free": 2048, **counters, "freed": 1, "whole": 4, "partpop": [], "free_lists": [[1, 11, [0]]]},
    ]  # fmt: skip
    return {
        "frames": FRAMES,
        "objects": [[0, 2048]],
        "v_free_reserved": 52,
        "at_start": AT_FIRST,
        "steps": steps,
    }


def thresholds(frames: int) -> dict[str, int]:
    known = limits(frames)._asdict()
    names = ("v_free_reserved", "v_free_min", "v_free_severe", "v_free_target", "v_inactive_target")
    return {**{name: known[name] for name in names}, "wakeup_thresh": known["vm_pageout_wakeup_thresh"]}


def wiring() -> dict[str, Any]:
    """A read page is held for writing without a fault; a wired one is on no queue."""
    head = {"config": "ept-emul", "type": 1, "flags": 3, "frames": 90, "pages": 40, "host_process": 0}
    fault = {"zero_fills": 1, "traps": 1, "vm_faults": 1, "singles": 1}
    steps = [
        {"op": ["access", 0, 5, 0], "rc": 2, "events": [["alloc", 0, 5, 88, 0, 0], ["zero_fill", 0, 5]],
         "page": [1, 0, 2, 5, 0, 0, 0, 0, 0, 1, 1], "free": 89, "changed": fault,
         "active": [[0, 5, 5, 0, 0, 0, 0, 0]], "inactive": []},
        {"op": ["hold", 0, 5, 2], "rc": 1, "events": [], "page": [1, 0, 2, 5, 1, 0, 1, 0, 0, 1, 1], "free": 89,
         "changed": {}, "active": [[0, 5, 5, 1, 0, 0, 1, 0]], "inactive": []},
        {"op": ["wire", 0, 5, 1], "rc": 0, "events": [], "page": [1, 0, 0, 5, 1, 1, 1, 0, 0, 1, 1], "free": 89,
         "changed": {}, "active": [], "inactive": []},
    ]  # fmt: skip
    return {**head, "thresholds": thresholds(90), "steps": steps}


def written(folder: Path, scenario: dict[str, Any]) -> Path:
    (folder / "tiny_1.json").write_text(json.dumps(scenario))
    return folder


def test_a_scenario_of_reservations_holds(tmp_path: Path) -> None:
    folder = written(tmp_path, reservations())
    assert kinds_in(folder) == {RESERVATIONS}
    report = check(folder)
    assert (report.sequences, report.operations, report.mismatches) == (1, 4, 0), report.first


def test_a_scenario_of_wiring_holds(tmp_path: Path) -> None:
    folder = written(tmp_path, wiring())
    assert kinds_in(folder) == {WIRING}
    report = check(folder)
    assert (report.sequences, report.operations, report.mismatches) == (1, 3, 0), report.first


def spoil_frame(scenario: dict[str, Any]) -> None:
    scenario["steps"][1]["frame"] = 512


def spoil_list(scenario: dict[str, Any]) -> None:
    scenario["steps"][1]["free_lists"][0][2] = [0]


@pytest.mark.parametrize(("spoil", "name"), [(spoil_frame, "frame"), (spoil_list, "length of free_lists")])
def test_a_wrong_frame_or_list_is_found_where_it_is(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], name: str
) -> None:
    scenario = reservations()
    spoil(scenario)
    report = check(written(tmp_path, scenario))
    assert report.mismatches == 1
    (mismatch,) = report.first
    assert mismatch.step.startswith("step 1, ['kalloc']")
    assert mismatch.name == name


def test_a_queue_that_differs_is_shown_around_the_difference_with_the_entry(tmp_path: Path) -> None:
    scenario = wiring()
    scenario["steps"][1]["active"][0][2] = 6
    report = check(written(tmp_path, scenario))
    assert report.mismatches == 1
    (mismatch,) = report.first
    assert mismatch.step == "step 1, ['hold', 0, 5, 2], active 0"
    text = "\n".join(mismatch.detail)
    assert "expected 0: [0, 5, 6, 1, 0, 0, 1, 0]" in text
    assert "found    0: [0, 5, 5, 1, 0, 0, 1, 0]" in text
    assert "level 1" in text
    assert "READ=A" in text


def sequence(*lines: object) -> str:
    head = {name: value for name, value in wiring().items() if name != "host_process"}
    return "\n".join(json.dumps(line) for line in ({**head, "columns": [], "steps": 2}, *lines))


FIRST = [["access", 0, 5, 0], 2, [1, 0, 2, 5, 0, 0, 0, 0, 0, 1, 1], 89, 1, 0, "", "cbf29ce484222325"]
HASH_OF_PAGE_5 = f"{((0xCBF29CE484222325 ^ (5 | 5 << 40)) * 0x100000001B3) % (1 << 64):016x}"


@pytest.mark.parametrize(("digest", "mismatches"), [(HASH_OF_PAGE_5, 0), ("0" * 16, 1)])
def test_a_sequence_of_wiring_is_compared_line_by_line(tmp_path: Path, digest: str, mismatches: int) -> None:
    lines = [[*FIRST[:6], digest, FIRST[7]], [["access", 0, 5, 0], 0, *FIRST[2:6], HASH_OF_PAGE_5, FIRST[7]]]
    (tmp_path / "seq_1.jsonl.gz").write_bytes(
        gzip.compress(sequence(*lines, ["check", {"traps": 1}]).encode())
    )
    report = check(tmp_path)
    assert report.operations == 2
    assert report.mismatches == mismatches
    for mismatch in report.first:
        assert (mismatch.name, mismatch.step) == ("hash_active", "step 0, ['access', 0, 5, 0]")
        assert any("active found, head first: [[0, 5, 5, 0" in line for line in mismatch.detail)


@pytest.mark.parametrize(
    "step", [["alloc", 1, 5], ["alloc", 0, 2048], ["alloc", 0, -1], ["kfree", 0], ["steal"], "alloc", ["free", 0, 9], ["alloc", 0, True]],
)  # fmt: skip
def test_steps_of_reservations_that_make_no_sense_are_refused(tmp_path: Path, step: object) -> None:
    scenario = reservations()
    scenario["steps"] = [{"op": step}]
    with pytest.raises(TraceError):
        check(written(tmp_path, scenario))


@pytest.mark.parametrize(
    "step", [["access", 1, 5, 0], ["access", 0, 40, 0], ["access", 0, 5, 3], ["wire", 0, 39, 2], ["hold", 0, 5, 0], ["tock"], []],
)  # fmt: skip
def test_steps_of_wiring_that_make_no_sense_are_refused(tmp_path: Path, step: list[object]) -> None:
    scenario = wiring()
    scenario["steps"][0]["op"] = step
    with pytest.raises(TraceError):
        check(written(tmp_path, scenario))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seq_1.jsonl").write_text(sequence([["tick"], 0]))
    with pytest.raises(TraceError, match="line 2"):
        check(tmp_path)
