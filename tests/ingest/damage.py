"""Damage a trace in every way that disks, copies and programs do, and tell whether anybody notices.

As a script: `python -m tests.ingest.damage FOLDER TRACE...` prints counts for the given traces.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from eptreplay.errors import TraceError
from eptreplay.ingest.native.reader import read_batches
from eptreplay.ingest.parquet.footer import parse_footer
from eptreplay.ingest.parquet.thrift import CompactReader
from eptreplay.ingest.sources.dataset import open_trace
from eptreplay.ingest.trace.extents import Extent

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("time", "vcpu", "gpa", "op", "size", "count", "arg")
KINDS = ("cut short", "flipped bit", "swapped pages", "doubled page", "zeroed block", "changed metadata")


class Damage(NamedTuple):
    """A damaged file: what was done to it, and its bytes."""

    kind: str
    data: bytes


class Found(NamedTuple):
    """What reading a file gives: its rows, what is known of the guest, and what guards it."""

    rows: dict[str, bytes]
    facts: tuple[Any, ...]
    verified_by: str


def read(path: Path) -> Found:
    """Read a trace as a replay with all columns does.

    Raises:
        TraceError: it is damaged.
    """
    trace = open_trace(path)
    parts: dict[str, list[bytes]] = {name: [] for name in COLUMNS}
    for batch in read_batches(trace, vcpu=True):
        constant = trace.row_groups[batch.row_group].vcpu_constant
        vcpu = (
            np.full(batch.rows, constant, np.uint16) if batch.vcpu is None else batch.vcpu.astype(np.uint16)
        )
        size = (
            (np.ones(batch.rows, np.uint16) if "size" in trace.columns else None)
            if batch.size is None
            else batch.size
        )
        count = np.ones(batch.rows, np.uint32) if batch.count is None else batch.count
        arrays = {"vcpu": vcpu, "size": size, "count": count}
        for name in COLUMNS:
            values = arrays.get(name, getattr(batch, name))
            parts[name].append(b"" if values is None else values.tobytes())
    facts = (trace.segments, trace.vcpus, trace.time_unit, trace.rows)
    return Found({name: b"".join(part) for name, part in parts.items()}, facts, str(trace.verified_by))


def pages_of(data: bytes) -> list[list[Extent]]:
    """Return where the data pages of every chunk are, header and all."""
    length = int.from_bytes(data[-8:-4], "little")
    footer = parse_footer(Path("trace"), data[-8 - length : -8], len(data))
    return [
        pages
        for group in footer.groups
        for chunk in group.chunks.values()
        if len(pages := list(_pages(data, chunk.extent))) > 1
    ]


def _pages(data: bytes, extent: Extent) -> Iterator[Extent]:
    at = extent.start
    while at < extent.start + extent.packed:
        reader = CompactReader(data[at : at + 4096])
        header = reader.struct()
        packed, plain = header[3], header[2]
        assert isinstance(packed, int)
        assert isinstance(plain, int)
        if header[1] != 2:  # a dictionary page has its place
            yield Extent(at, reader.position + packed, plain)
        at += reader.position + packed


def damages(data: bytes, files: int, seed: int) -> Iterator[Damage]:
    """Yield so many damaged files, the kinds in turn, the same for the same seed."""
    random = np.random.default_rng(seed)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    chunks = pages_of(data)
    for number in range(files):
        kind = KINDS[number % len(KINDS)]
        changed = bytearray(data)
        if kind == "cut short":
            del changed[int(random.integers(len(data))) :]
        elif kind == "flipped bit":
            changed[int(random.integers(4, len(data)))] ^= 1 << int(random.integers(8))
        elif kind == "zeroed block":
            start = int(random.integers(4, len(data) - 8))
            end = min(len(data), start + int(2 ** random.uniform(0, 12)))
            changed[start:end] = bytes(end - start)
        elif kind == "changed metadata":
            changed[int(random.integers(footer, len(data)))] = int(random.integers(256))
        else:
            pages = chunks[int(random.integers(len(chunks)))]
            first, second = (pages[int(at)] for at in np.sort(random.choice(len(pages), 2, replace=False)))
            one, other = (data[page.start : page.start + page.packed] for page in (first, second))
            if kind == "swapped pages":
                between = data[first.start + first.packed : second.start]
                changed[first.start : second.start + second.packed] = other + between + one
            elif len(one) == len(other):
                changed[second.start : second.start + second.packed] = one
            else:
                changed[second.start : second.start + min(len(one), len(other))] = one[: len(other)]
        yield Damage(kind, bytes(changed))


def outcomes(
    data: bytes, folder: Path, files: int, seed: int, manifest: str = ""
) -> Counter[tuple[str, str]]:
    """Count what becomes of damaged files: (kind, outcome).

    The outcomes: `refused`; `same`; `said`, where rows or facts differ and the file counts as unverified;
    `metadata`, where only what is known of the guest differs; `silent`, where rows do.
    """
    path = folder / "trace.parquet"
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    path.write_bytes(data)
    if manifest:
        (folder / "SHA256SUMS").write_text(manifest)
    good = read(path)
    counts: Counter[tuple[str, str]] = Counter()
    for damage in damages(data, files, seed):
        path.write_bytes(damage.data)
        counts[damage.kind, _outcome(path, good)] += 1
    return counts


def _outcome(path: Path, good: Found) -> str:
    try:
        found = read(path)
    except TraceError as error:
        return "refused in several lines" if "\n" in str(error) else "refused"
    if found.rows == good.rows and found.facts == good.facts:
        return "same"
    if not found.verified_by:
        return "said"
    return "metadata" if found.rows == good.rows else "silent"


if __name__ == "__main__":
    for name in sys.argv[2:]:
        for (kind, outcome), number in sorted(
            outcomes(Path(name).read_bytes(), Path(sys.argv[1]), 600, 1).items()
        ):
            sys.stdout.write(f"{name}  {kind:18} {outcome:10} {number:,}\n")
