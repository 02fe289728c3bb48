from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from eptreplay.errors import TraceError
from eptreplay.ingest.sources.dataset import find_traces, open_trace
from eptreplay.ingest.sources.guards import weakest
from eptreplay.ingest.trace.guard import Guard

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ingest.conftest import MakeTrace


def listed(path: Path) -> str:
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"


@pytest.mark.parametrize(("checksums", "guard"), [(True, Guard.CHECKSUMS), (False, Guard.NOTHING)])
def test_page_checksums_are_noticed(make_trace: MakeTrace, checksums: bool, guard: Guard) -> None:
    assert open_trace(make_trace(write_page_checksum=checksums)).verified_by is guard


def test_a_file_that_its_manifest_lists_is_verified(tmp_path: Path, make_trace: MakeTrace) -> None:
    path = make_trace(write_page_checksum=False)
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  another.parquet\n" + listed(path))
    assert open_trace(path).verified_by is Guard.MANIFEST


def test_a_file_that_a_manifest_does_not_list_is_not(tmp_path: Path, make_trace: MakeTrace) -> None:
    path = make_trace(write_page_checksum=False)
    (tmp_path / "SHA256SUMS").write_text("nonsense\n" + listed(path).replace("t.parquet", "tt.parquet"))
    assert open_trace(path).verified_by is Guard.NOTHING


def test_a_file_that_is_another_than_the_manifest_lists_is_refused(
    tmp_path: Path, make_trace: MakeTrace
) -> None:
    path = make_trace()
    (tmp_path / "SHA256SUMS").write_text(listed(path))
    make_trace(metadata={"vcpus": "3"})
    with pytest.raises(TraceError, match=r"its SHA-256 is .* SHA256SUMS beside it says"):
        open_trace(path)


def test_a_guest_is_guarded_as_its_weakest_file(tmp_path: Path, make_trace: MakeTrace) -> None:
    make_trace("guest=g/a.parquet", rows=2, columns={"time": [1, 2]})
    make_trace("guest=g/b.parquet", rows=2, columns={"time": [3, 4]}, write_page_checksum=False)
    (trace,) = find_traces([str(tmp_path)])
    assert trace.verified_by is Guard.NOTHING
    assert weakest([Guard.MANIFEST, Guard.CHECKSUMS]) is Guard.CHECKSUMS
