"""Conformance: replay what a real FreeBSD kernel did and compare every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.conform.frame_traces import check_frame_traces, frame_trace_files
from eptreplay.conform.golden import check_golden, golden_files
from eptreplay.conform.kinds import FRAME_TRACES, GOLDEN, PAGEOUT, RESERVATIONS, TINY, VECTORS, WIRING
from eptreplay.conform.pageout import check_pageout, pageout_files
from eptreplay.conform.report import Mismatch, Report
from eptreplay.conform.reservations import check_reservations, reservation_files
from eptreplay.conform.tiny import check_tiny, tiny_files
from eptreplay.conform.vectors import check_vectors, has_vectors
from eptreplay.conform.wiring import check_wiring, wiring_files
from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Mismatch", "Report", "check", "kinds_in"]


def kinds_in(folder: Path) -> frozenset[str]:
    """Return what kinds of recordings a folder holds."""
    found = {
        VECTORS: has_vectors(folder),
        GOLDEN: golden_files(folder),
        PAGEOUT: pageout_files(folder),
        TINY: tiny_files(folder),
        RESERVATIONS: reservation_files(folder),
        FRAME_TRACES: frame_trace_files(folder),
        WIRING: wiring_files(folder),
    }
    return frozenset(kind for kind, there in found.items() if there)


def check(
    folder: Path,
    traces: Path | None = None,
    *,
    only: frozenset[int] | None = None,
    slow_path: bool = False,
    tlb: bool = False,
    on_rows: Callable[[str, int], None] | None = None,
) -> Report:
    """Replay all recordings in a folder, of whatever kind, and compare every answer.

    Args:
        folder: holds recordings of one kind or of several.
        traces: holds the traces that replays name; None: the same folder.
        only: numbers of the sequences of vectors to replay; None for all.
        slow_path: whether the models make every access of a golden replay, also those known to change nothing.
        tlb: whether TLBs are modelled in golden replays, which must change no answer.
        on_rows: called with the name of what is replayed, and how many more operations, or rows, of it are done.

    Raises:
        UsageError: there is nothing to replay, or a trace is missing.
        TraceError: a file is damaged.
    """
    report = Report()
    if has_vectors(folder):
        report.add(check_vectors(folder, only=only, on_rows=on_rows))
    if golden_files(folder):
        report.add(check_golden(folder, traces, slow_path=slow_path, tlb=tlb, on_rows=on_rows))
    if tiny_files(folder):
        report.add(check_tiny(folder))
    if pageout_files(folder):
        report.add(check_pageout(folder, traces, on_rows=on_rows))
    if reservation_files(folder):
        report.add(check_reservations(folder, on_rows=on_rows))
    if frame_trace_files(folder):
        report.add(check_frame_traces(folder, traces, on_rows=on_rows))
    if wiring_files(folder):
        report.add(check_wiring(folder, on_rows=on_rows))
    if report.values == 0:
        raise UsageError(
            f"{folder}: nothing to replay; expected sequences.parquet and ops.parquet (vectors), "
            "TRACE.CONFIG.POLICY.jsonl (golden replays), TRACES.CONFIG.hP.jsonl and tiny_*.json "
            "(page daemon replays), or tiny_*.json and seq_*.jsonl (reservations, wiring), see docs/conformance.md"
        )
    return report
