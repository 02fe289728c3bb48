"""Traces made by rule: any size, any skew, the same for the same seed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from eptreplay.errors import UsageError
from eptreplay.ingest.native.layout import FAST_LAYOUT, ROW_GROUP_ROWS, trace_writer
from eptreplay.ingest.trace.schema import (
    GPA_BITS,
    KEY_MEMORY_BYTES,
    KEY_SEGMENTS,
    KEY_TIME_UNIT,
    KEY_VCPUS,
    PAGE_SHIFT,
    PAGE_SIZE,
    VCPUS_MAX,
    Op,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Distribution = Literal["zipf", "uniform", "sequential"]

_LOW_MEMORY_END = 3 << 30
_HIGH_MEMORY = 4 << 30
"""Memory beyond 3 GiB lies from 4 GiB on, as in a PC: PCI has the space between."""

_LINE = 64
_WORD = 8
_BURST_ROWS = 64
"""Rows of one vCPU in a row."""

_MEAN_GAP_NS = 10


class Synthetic(NamedTuple):
    """A made-up guest.

    Args:
        rows: accesses.
        memory_bytes: memory of the guest; whole pages.
        distribution: which pages are accessed: `uniform`; `zipf`, where the page of
            rank r is accessed in proportion to 1 / r**skew and ranks are scattered
            over memory; or `sequential`, one cache line after the other, round and round.
        vcpus: virtual CPUs; they take turns in bursts.
        seed: the same seed and arguments make the same rows.
        write_share: share of the accesses that write.
        fetch_share: share that fetch instructions; the rest reads.
        skew: exponent of `zipf`.
    """

    rows: int
    memory_bytes: int
    distribution: Distribution
    vcpus: int = 1
    seed: int = 1
    write_share: float = 0.3
    fetch_share: float = 0.2
    skew: float = 1.0

    @property
    def pages(self) -> int:
        """Pages of memory."""
        return self.memory_bytes >> PAGE_SHIFT


def write_synthetic(path: Path | str, made: Synthetic) -> None:
    """Write a valid native trace of made-up accesses, in bounded memory.

    Raises:
        UsageError: a parameter is out of its range.
        OutputError: the file cannot be written.
    """
    _check(made)
    schema = _schema(made)
    time = 0
    with trace_writer(path, schema, FAST_LAYOUT) as writer:
        for first in range(0, made.rows, ROW_GROUP_ROWS):
            columns = _columns(made, first, min(ROW_GROUP_ROWS, made.rows - first), time)
            time = int(columns[0][-1])
            writer.write_table(pa.table(columns, schema=schema), row_group_size=ROW_GROUP_ROWS)


def _check(made: Synthetic) -> None:
    if made.rows < 1:
        raise UsageError(f"{made.rows} rows: a trace has at least one")
    if (
        made.memory_bytes < PAGE_SIZE
        or made.memory_bytes % PAGE_SIZE
        or made.memory_bytes > 1 << (GPA_BITS - 1)
    ):
        raise UsageError(
            f"{made.memory_bytes} bytes of memory: give whole pages of {PAGE_SIZE}, at most 128 TiB"
        )
    if made.distribution not in get_args(Distribution):
        raise UsageError(
            f"distribution '{made.distribution}' is unknown: {', '.join(get_args(Distribution))}"
        )
    if not 1 <= made.vcpus <= VCPUS_MAX:
        raise UsageError(f"{made.vcpus} vCPUs: a guest has 1 to {VCPUS_MAX}")
    # Written so that a share that is not a number is refused too.
    if not (made.write_share >= 0 <= made.fetch_share and made.write_share + made.fetch_share <= 1):
        raise UsageError("the shares of writes and fetches are at least 0 and together at most 1")
    if made.seed < 0:
        raise UsageError(f"seed {made.seed}: it is at least 0")
    if not 0 < made.skew < 10:
        raise UsageError(f"skew {made.skew}: it is above 0 and below 10")


def _schema(made: Synthetic) -> pa.Schema:
    low = min(made.memory_bytes, _LOW_MEMORY_END)
    segments = [{"gpa": 0, "bytes": low, "kind": "ram"}]
    if made.memory_bytes > low:
        segments.append({"gpa": _HIGH_MEMORY, "bytes": made.memory_bytes - low, "kind": "ram"})
    metadata = {
        "capture": "synthetic: made by rule, no guest ever ran",
        "synthetic": json.dumps(made._asdict()),
        KEY_SEGMENTS: json.dumps(segments),
        KEY_VCPUS: str(made.vcpus),
        KEY_MEMORY_BYTES: str(made.memory_bytes),
        KEY_TIME_UNIT: "ns",
    }
    types = {"time": pa.uint64(), "vcpu": _vcpu_type(made), "gpa": pa.uint64(), "op": pa.uint8()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()], metadata)


def _vcpu_type(made: Synthetic) -> pa.DataType:
    return pa.uint8() if made.vcpus <= 1 << 8 else pa.uint16()


def _columns(made: Synthetic, first: int, rows: int, time: int) -> list[NDArray[np.unsignedinteger]]:
    """Make the columns time, vcpu, gpa, op of one row group.

    Args:
        made: parameters of the trace.
        first: number of the row group's first row.
        rows: its rows.
        time: of the row before.
    """
    random = np.random.default_rng([made.seed, first])
    gaps = random.integers(0, 2 * _MEAN_GAP_NS, rows, dtype=np.uint64)
    bursts = random.integers(0, made.vcpus, -(-rows // _BURST_ROWS), dtype=np.uint16)
    vcpu: NDArray[np.unsignedinteger] = np.repeat(bursts, _BURST_ROWS)[:rows]
    if made.vcpus <= 1 << 8:
        vcpu = vcpu.astype(np.uint8)
    draw = random.random(rows)
    op = np.full(rows, Op.READ, dtype=np.uint8)
    op[draw < made.write_share + made.fetch_share] = Op.FETCH
    op[draw < made.write_share] = Op.WRITE
    return [np.uint64(time) + np.cumsum(gaps, dtype=np.uint64), vcpu, _gpa(made, first, rows, random), op]


def _gpa(made: Synthetic, first: int, rows: int, random: np.random.Generator) -> NDArray[np.uint64]:
    """Draw addresses, aligned to 8 bytes."""
    if made.distribution == "sequential":
        address = np.arange(first, first + rows, dtype=np.uint64) * np.uint64(_LINE)
        address %= np.uint64(made.pages << PAGE_SHIFT)
    else:
        draw = random.random(rows)
        page = (
            _zipf_pages(draw, made) if made.distribution == "zipf" else (draw * made.pages).astype(np.uint64)
        )
        offset = random.integers(0, PAGE_SIZE // _WORD, rows, dtype=np.uint64) * np.uint64(_WORD)
        address = (page << np.uint64(PAGE_SHIFT)) + offset
    address[address >= _LOW_MEMORY_END] += np.uint64(_HIGH_MEMORY - _LOW_MEMORY_END)
    return address


def _zipf_pages(draw: NDArray[np.float64], made: Synthetic) -> NDArray[np.uint64]:
    """Turn uniform draws in [0, 1) into page numbers by the inverse of Zipf's (continuous) distribution."""
    end = float(made.pages + 1)
    if math.isclose(made.skew, 1.0):
        rank = end**draw
    else:
        rest = 1.0 - made.skew
        rank = (1.0 + draw * (end**rest - 1.0)) ** (1.0 / rest)
    index = np.minimum(rank.astype(np.uint64) - np.uint64(1), np.uint64(made.pages - 1))
    # A stride without a common factor with the number of pages visits each page once:
    # it scatters the ranks as a permutation would, without one in memory.
    stride = max(1, int(made.pages * 0.6180339887))
    while math.gcd(stride, made.pages) != 1:
        stride += 1
    page: NDArray[np.uint64] = index * np.uint64(stride) % np.uint64(made.pages)
    return page
