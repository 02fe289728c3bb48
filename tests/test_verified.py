"""Input that nothing guards is said to be so wherever a run is shown."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from tests.command_line import eptreplay, small_trace

from eptreplay.tables.files import slug

if TYPE_CHECKING:
    from pathlib import Path

SAID = {
    "": "nverified input",
    "page checksums": "erified by page checksums, which guard neither the order of pages nor the metadata",
    "SHA256SUMS": "",
}


def guarded(path: Path, guard: str) -> Path:
    """Write a trace that is guarded by something."""
    small_trace(path)
    if guard == "page checksums":
        pq.write_table(pq.read_table(path), path, write_page_checksum=True)
    elif guard:
        sums = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        (path.parent / "SHA256SUMS").write_text(sums, encoding="utf-8")
    return path


@pytest.mark.parametrize("guard", SAID)
def test_what_guards_a_trace_is_said_by_check_run_json_summary_and_both_pages(
    tmp_path: Path, guard: str
) -> None:
    trace, run = guarded(tmp_path / "guest.parquet", guard), tmp_path / "run"
    check = eptreplay("check", trace)
    assert eptreplay("replay", trace, "-p", "x86", "--out", run).code == 0
    (about,) = json.loads((run / "run.json").read_text(encoding="utf-8"))["guests"]
    assert about["verified_by"] == guard
    assert (SAID[guard] or "verified by the SHA256SUMS beside it") in check.out
    shown = {
        "summary": eptreplay("summary", run).out,
        "index": (run / "index.html").read_text(encoding="utf-8"),
        "page": (run / f"guests/{slug('guest')}.html").read_text(encoding="utf-8"),
    }
    for where, text in shown.items():
        words = " ".join(text.split())
        assert SAID[guard] in words, where
        for other in filter(None, {*SAID.values()} - {SAID[guard]}):
            assert other not in words, where
