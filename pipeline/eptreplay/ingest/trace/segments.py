"""Memory layouts of guests: parsing, checking, coalescing."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.ingest.trace.schema import GPA_BITS, KEY_SEGMENTS, PAGE_SHIFT, PAGE_SIZE, Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_SEGMENTS = 4096
"""Segments of a layout; a machine's own map of its memory has some dozens."""

_SHAPE = 'a list of {"gpa": bytes, "bytes": length, "kind": text}'


def parse_segments_json(text: str, file: str) -> tuple[Segment, ...]:
    """Read the memory layout out of a file's metadata.

    Args:
        text: the value of the metadata key `memory_segments`.
        file: where it comes from, for messages.

    Returns:
        Segments in ascending order of address.

    Raises:
        TraceError: the text is no JSON, or no memory layout.
    """
    where = f"metadata key '{KEY_SEGMENTS}'"
    _refuse_many(text.count('"gpa"'), file, where)  # before they take a kilobyte each
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceError(
            file,
            f"{where} is no valid JSON ({str(error)[:120]})",
            expected=_SHAPE,
            advice="give the layout as `segments` in a guest.toml beside the trace",
        ) from error
    return check_segments(raw, file, where)


def check_segments(raw: object, file: str, where: str) -> tuple[Segment, ...]:
    """Turn plain data into segments that do not overlap.

    Args:
        raw: what JSON or TOML held.
        file: where it comes from, for messages.
        where: the key, for messages.

    Returns:
        Segments in ascending order of address; at least one of them is memory.

    Raises:
        TraceError: the data is no list of segments, has too many, a segment has an
            impossible extent, two overlap, or none is memory.
    """
    if not isinstance(raw, list) or not raw:
        raise TraceError(file, f"{where} is {_brief(raw)}", expected=_SHAPE)
    _refuse_many(len(raw), file, where)
    segments = sorted((_segment(item, i, file, where) for i, item in enumerate(raw)), key=lambda s: s.gpa)
    for low, high in pairwise(segments):
        if high.gpa < low.end:
            raise TraceError(
                file,
                f"{where}: the segment at {high.gpa:#x} ('{high.kind}') overlaps the one at "
                f"{low.gpa:#x} ('{low.kind}'), which ends at {low.end:#x}",
                expected="segments that do not overlap",
                advice="correct the layout, or give it as `segments` in a guest.toml beside the trace",
            )
    if not ram_ranges(segments):
        raise TraceError(
            file,
            f"{where} holds no memory",
            expected="at least one whole page in segments whose kind starts with 'ram'",
        )
    return tuple(segments)


def ram_ranges(segments: Iterable[Segment]) -> tuple[tuple[int, int], ...]:
    """Guest pages that are memory.

    Args:
        segments: in ascending order of address, without overlaps.

    Returns:
        Half-open ranges [low, high) of guest page numbers, ascending and apart.
        Segments that touch are one range; a partial page at either end of a
        range does not count as memory.
    """
    runs: list[tuple[int, int]] = []
    for segment in segments:
        if not segment.is_ram:
            continue
        if runs and runs[-1][1] == segment.gpa:
            runs[-1] = (runs[-1][0], segment.end)
        else:
            runs.append((segment.gpa, segment.end))
    pages = ((-(-low // PAGE_SIZE), high >> PAGE_SHIFT) for low, high in runs)
    return tuple((low, high) for low, high in pages if low < high)


def _refuse_many(count: int, file: str, where: str) -> None:
    """Refuse more segments than a layout may have."""
    if count > MOST_SEGMENTS:
        raise TraceError(
            file,
            f"{where} has {count:,} segments",
            expected=f"at most {MOST_SEGMENTS:,}",
            advice="put segments together that touch, or give the layout as `segments` in a guest.toml beside the trace",
        )


def _segment(item: object, number: int, file: str, where: str) -> Segment:
    if not isinstance(item, dict):
        raise TraceError(file, f"{where}, segment {number} is {_brief(item)}", expected=_SHAPE)
    gpa, length, kind = item.get("gpa"), item.get("bytes"), item.get("kind")
    # A bool is an int in Python, but no address.
    for key, value in (("gpa", gpa), ("bytes", length)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TraceError(
                file,
                f"{where}, segment {number}: '{key}' is {_brief(value)}",
                expected="a whole number of bytes",
            )
    if not isinstance(kind, str):
        raise TraceError(file, f"{where}, segment {number}: 'kind' is {_brief(kind)}", expected="text")
    assert isinstance(gpa, int)  # noqa: S101  narrows for the type checker what the loop has checked
    assert isinstance(length, int)  # noqa: S101
    if gpa < 0 or length <= 0 or gpa + length > 1 << GPA_BITS:
        raise TraceError(
            file,
            f"{where}, segment {number} spans {length:,} bytes from {gpa:#x}",
            expected=f"at least one byte within the {GPA_BITS}-bit guest-physical address space",
        )
    return Segment(gpa, length, kind)


def _brief(value: object) -> str:
    """Some value of a file in a few characters, for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
