"""Ten things that a stranger asks of the code, each found in two steps: the map names a file, and the file has the function."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline" / "eptreplay"


class Question(NamedTuple):
    """A question, the word to look up, and where the answer is.

    Args:
        question: as a stranger asks it.
        word: a word of the question that has a line in the glossary, which names the file.
        file: where the answer is.
        functions: those that answer it, the first first.
        answer: what they do.
    """

    question: str
    word: str
    file: str
    functions: tuple[str, ...]
    answer: str


QUESTIONS = (
    Question(
        "Where is the accessed bit set on a CPU without A/D bits?",
        "emulated A/D bits",
        "model/pmap/emulate.py",
        ("pmap_emulate_accessed_dirty",),
        "After the EPT violation of the next access: the entry gets its right to read back, which stands for the accessed bit.",
    ),
    Question(
        "Where is it decided that a fault costs an IPI?",
        "IPI",
        "model/pmap/invalidate.py",
        ("_shoot_down",),
        "Every invalidation ends there and counts one IPI for each CPU in pm_active; vm_exit takes out the vCPU that faults, if it is known to run.",
    ),
    Question(
        "What happens to a dirty page the second time the page daemon sees it?",
        "page daemon",
        "model/vm/vm_pageout.py",
        ("_scan_inactive", "vm_pageout_clean", "vm_pageout_flush"),
        "The first time it is passed over (seen_once); the second time it is written to swap together with dirty inactive neighbours.",
    ),
    Question(
        "What takes an access off the fast path again?",
        "weaken",
        "model/pmap/entry.py",
        ("_weaken",),
        "Whatever weakens a leaf clears the NO_OP bits of the pages that it maps, and the rest of the chunk is scanned again.",
    ),
    Question(
        "What has to hold before 512 mappings become a superpage?",
        "promotion",
        "model/pmap/superpage.py",
        ("may_promote", "pmap_promote_pde"),
        "Page-table page and reservation are full; then all 512 PTEs are accessed, in consecutive frames and alike in PG_PTE_PROMOTE.",
    ),
    Question(
        "Which frame does a guest page get, and when is there no reservation for it?",
        "reservation",
        "model/page/vm_reserv.py",
        ("vm_phys_alloc", "vm_reserv_alloc_page"),
        "Its place in the block's reservation; a single frame where no whole block is free or the block already has single frames.",
    ),
    Question(
        "What does the first access to a page after a harvest cost?",
        "harvest",
        "model/access_loop/dirty_log.py",
        ("logged_access",),
        "It is counted as a refault if the walker refuses it, and as a re-promotion if it makes a superpage that the harvest demoted.",
    ),
    Question(
        "What does an aging sweep do where an accessed bit cannot be cleared?",
        "aging sweep",
        "model/pmap/pmap_page.py",
        ("pmap_ts_referenced",),
        "It asks safe_to_clear_referenced; where that says no, a superpage is demoted and the mapping of the page removed.",
    ),
    Question(
        "Who decides at which row a replay stops for a sweep or the end of an interval?",
        "schedule",
        "replay/rows/schedule.py",
        ("Scheduler",),
        "It merges the schedules of all actions and gives the stops of each batch, by rows or by times.",
    ),
    Question(
        "From which facts does a profile emulate accessed and dirty bits?",
        "profile",
        "profiles/rules.py",
        ("_apply_tunables", "_flags"),
        "The CPU's features and bhyve's tunables, both in profiles.toml, become the flags of the pmap.",
    ),
)


def defined(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_there_are_ten() -> None:
    assert len(QUESTIONS) == len({asked.question for asked in QUESTIONS}) == 10


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: asked.word)
def test_the_glossary_leads_to_the_file_and_the_file_has_the_function(asked: Question) -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    (line,) = (line for line in glossary.splitlines() if line.startswith(f"| {asked.word} |"))
    assert f"`{asked.file}`" in line
    assert set(asked.functions) <= defined(PACKAGE / asked.file)
