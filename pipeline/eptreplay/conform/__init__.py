"""Conformance: replay what a real FreeBSD kernel did and compare every answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.conform.golden import check_golden, golden_files
from eptreplay.conform.report import Mismatch, Report
from eptreplay.conform.vectors import check_vectors, has_vectors
from eptreplay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Mismatch", "Report", "check"]


def check(
    folder: Path,
    traces: Path | None = None,
    *,
    only: frozenset[int] | None = None,
    slow_path: bool = False,
    watch: Callable[[str, int], None] | None = None,
) -> Report:
    """Replay all recordings in a folder, of whatever kind, and compare every answer.

    Args:
        folder: holds vectors, golden replays, or both.
        traces: holds the traces that golden replays name; None: the same folder.
        only: numbers of the sequences of vectors to replay; None for all.
        slow_path: whether the models make every access of a golden replay, also those known to change nothing.
        watch: hears what is replayed and how many operations, or rows, more of it are done.

    Raises:
        UsageError: there is nothing to replay, or a trace is missing.
        TraceError: a file is damaged.
    """
    report = Report()
    if has_vectors(folder):
        report.add(check_vectors(folder, only=only, watch=watch))
    if golden_files(folder):
        report.add(check_golden(folder, traces, slow_path=slow_path, watch=watch))
    if report.values == 0:
        raise UsageError(
            f"{folder}: nothing to replay; expected sequences.parquet and ops.parquet (vectors) "
            "or TRACE.CONFIG.POLICY.jsonl (golden replays), see docs/conformance.md"
        )
    return report
