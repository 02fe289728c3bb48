"""Page daemon replays: the recorded ones are met, and what a wrong number looks like."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.command_line import eptreplay
from tests.test_conform import numbers

GOLDEN = Path(__file__).parent / "golden/pageout"
TRACES = Path(__file__).parents[1] / "traces"


def copy(folder: Path, name: str) -> Path:
    """Return a copy of a recording."""
    return Path(shutil.copy(GOLDEN / name, folder / name))


def test_every_recorded_step_and_checkpoint_is_met() -> None:
    answer = eptreplay("conform", GOLDEN, "--traces", TRACES)
    assert answer.code == 0, answer.out
    found = numbers(answer.out)
    assert found["sequences"] == 40 + 9
    assert found["compared"] > 300_000
    assert found["mismatches"] == 0


@pytest.mark.parametrize("name", ["swap_ins", "hash_inactive", "v_pdpages", "state_sum"])
def test_one_wrong_number_of_a_checkpoint_is_found(tmp_path: Path, name: str) -> None:
    path = copy(tmp_path, "full-2vcpu.ept-emul.h35.jsonl")
    head, *lines = (json.loads(line) for line in path.read_text().splitlines())
    lines[1][name] += 1
    path.write_text("\n".join(json.dumps(line) for line in [head, *lines]))
    answer = eptreplay("conform", tmp_path, "--traces", TRACES)
    assert answer.code == 1
    assert numbers(answer.out)["mismatches"] == 1
    assert "row 500,000" in answer.out
    assert f"{name} expected" in answer.out


def test_a_wrong_count_of_clusters_is_found(tmp_path: Path) -> None:
    path = copy(tmp_path, "full-2vcpu.ept-emul.h35.jsonl")
    head, *lines = (json.loads(line) for line in path.read_text().splitlines())
    lines[-1]["clusters"][15] -= 1
    path.write_text("\n".join(json.dumps(line) for line in [head, *lines]))
    answer = eptreplay("conform", tmp_path, "--traces", TRACES)
    assert answer.code == 1
    assert numbers(answer.out)["mismatches"] == 1


def test_a_wrong_limit_is_found(tmp_path: Path) -> None:
    path = copy(tmp_path, "tiny_5_clusters.json")
    scenario = json.loads(path.read_text())
    scenario["thresholds"]["v_free_target"] += 1
    path.write_text(json.dumps(scenario))
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 1
    assert "v_free_target" in answer.out


@pytest.mark.parametrize(
    ("name", "step", "change"),
    [
        ("tiny_1_fill_and_reclaim.json", 28, lambda step: step["events"].pop()),
        ("tiny_2_emulated_bits.json", 32, lambda step: step["active"].reverse()),
        ("tiny_6_superpages_ept-ad.json", 3, lambda step: step["changed"].update(soft_faults=99)),
        ("tiny_9_launder_limit.json", 9, lambda step: step["inactive"].append([0, 1, 1, 0, 0, 0, 0, 0, 0])),
    ],
)
def test_a_wrong_step_is_found_and_named(tmp_path: Path, name: str, step: int, change: object) -> None:
    path = copy(tmp_path, name)
    scenario = json.loads(path.read_text())
    assert callable(change)
    change(scenario["steps"][step])
    path.write_text(json.dumps(scenario))
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 1
    assert f"step {step}, " in answer.out


def test_a_file_that_is_no_scenario_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny_0.json").write_text("[]")
    answer = eptreplay("conform", tmp_path)
    assert answer.code == 2
    assert "not a tiny scenario" in answer.err


def test_a_missing_trace_is_named(tmp_path: Path) -> None:
    copy(tmp_path, "web-1vcpu+boot-2vcpu.x86.h60.jsonl")
    answer = eptreplay("conform", tmp_path, "--traces", tmp_path)
    assert answer.code == 2
    assert "--traces" in answer.err
