"""How fast traces of other tools are read and guests are made up: millions of records a second of CPU time, on one core, without writing.

    foreign.py [--records N]

The exit code is 1 if one of those with a bar falls below it.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from eptreplay.bench.measure import one_core
from eptreplay.ingest.binary.cache_requests import REQUEST
from eptreplay.ingest.importers import champsim, drmemtrace, gem5, lackey, oracle_general, text
from eptreplay.ingest.importing.dropped import Dropped
from eptreplay.ingest.importing.inputs import HEAD_BYTES
from eptreplay.ingest.synth.example import EXAMPLE
from eptreplay.ingest.synth.make import make_rows
from eptreplay.ingest.synth.read_guest import parse_guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eptreplay.ingest.importing.format import Format

BAR = 20.0
"""Millions of records a second."""
TEXT_BAR = 5.0
"""The same, of text."""
RUNS = 5


def drmemtrace_trace(records: int) -> bytes:
    """Return fetches, loads and stores, with encodings and a time stamp now and then."""
    random = np.random.default_rng(1)
    trace = np.zeros(records, [("type", "<u2"), ("size", "<u2"), ("value", "<u8")])
    trace["type"] = random.choice([10, 10, 10, 11, 0, 0, 1, 47], records)
    trace["size"] = random.integers(1, 9, records)
    trace["value"] = random.integers(1 << 40, 1 << 47, records)
    stamps = slice(10, records, 4096)
    trace["type"][stamps], trace["size"][stamps] = 28, 2
    trace["value"][stamps] = np.arange(len(trace["value"][stamps]))
    for number, (kind, size, value) in enumerate(
        [(25, 0, 6), (28, 12, 6), (28, 9, 0x240), (22, 0, 7), (24, 0, 5)]
    ):
        trace[number] = (kind, size, value)
    return trace.tobytes()


def champsim_trace(records: int) -> bytes:
    """Return instructions of which every third loads and every fifth stores."""
    random = np.random.default_rng(2)
    trace = np.zeros((records, 8), "<u8")
    trace[:, 0] = 0x400000 + 4 * random.integers(0, 1 << 20, records)
    trace[:, 1] = random.choice([0, 0, 0, 1, 257], records)
    trace[::5, 2] = random.integers(1 << 40, 1 << 46, len(trace[::5]))
    trace[::3, 4] = random.integers(1 << 40, 1 << 46, len(trace[::3]))
    return trace.tobytes()


def gem5_trace(records: int) -> bytes:
    """Return packets of a few kinds, over and over."""

    def varint(value: int) -> bytes:
        return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])

    def message(*values: tuple[int, int]) -> bytes:
        body = b"".join(varint(number << 3) + varint(value) for number, value in values)
        return varint(len(body)) + body

    packets = [
        message(
            (1, 1000 * number),
            (2, 1 if number % 3 else 4),
            (3, (1 << 31) + 64 * number),
            (4, 64),
            (5, 256 * (number % 2)),
            (6, 3),
        )
        for number in range(10_000)
    ]
    body = b"\x0a\x01m" + varint(3 << 3) + varint(10**12)
    return b"gem5" + varint(len(body)) + body + b"".join(packets) * (records // len(packets))


def oracle_general_trace(records: int) -> bytes:
    """Return requests in turn for a thousand pages."""
    trace = np.zeros(records, REQUEST)
    number = np.arange(records)
    trace["time"], trace["object"], trace["size"] = number >> 20, number % 1000, 4096
    trace["next"] = number + 1000
    return trace.tobytes()


def lackey_trace(records: int) -> bytes:
    """Return fetches, loads and stores."""
    address = np.random.default_rng(4).integers(0x400000, 0x1FFF000000, 10_000).tolist()
    kinds = ("I ", " L", " S")
    lines = [f"{kinds[number % 3]} {each:08x},{number % 8 + 1}\n" for number, each in enumerate(address)]
    return "".join(lines).encode() * (records // len(lines))


def csv_trace(records: int) -> bytes:
    """Return accesses with their times."""
    address = np.random.default_rng(5).integers(0, 1 << 34, records).tolist()
    lines = [f"{20 * number},{'RWX'[number % 3]},{each:#x}\n" for number, each in enumerate(address)]
    return ("time,op,gpa\n" + "".join(lines)).encode()


def reading(of: Format, data: bytes) -> Callable[[], int]:
    """Return what reads a trace and returns its accesses."""
    opened = of.open_with({}, data[:HEAD_BYTES]) if of.open_with else of.open({})
    return lambda: sum(len(records) for records in opened.read(io.BytesIO(data), Dropped()))


def making(records: int) -> Callable[[], int]:
    """Return what makes up the rows of the example."""
    guest = parse_guest(EXAMPLE.replace("4_000_000", str(records)), "example")
    return lambda: sum(len(rows.time) for rows in make_rows(guest))


def cases(records: int) -> Iterator[tuple[str, int, float | None, Callable[[], int]]]:
    """Yield what is measured: name, records, bar, work."""
    yield "drmemtrace", records, BAR, reading(drmemtrace.FORMAT, drmemtrace_trace(records))
    yield "champsim (instructions)", records, BAR, reading(champsim.FORMAT, champsim_trace(records))
    yield "gem5 (packets)", records, None, reading(gem5.FORMAT, gem5_trace(records))
    yield "oracleGeneral", records, None, reading(oracle_general.FORMAT, oracle_general_trace(records))
    yield "lackey", records, TEXT_BAR, reading(lackey.FORMAT, lackey_trace(records))
    yield "text (time,op,gpa)", records, TEXT_BAR, reading(text.FORMAT, csv_trace(records))
    yield "synth (rows)", records, BAR, making(records)


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Measure how fast traces of other tools are read and guests made up."
    )
    parser.add_argument("--records", type=int, default=5_000_000, help="records of each")
    options = parser.parse_args()
    below = False
    with one_core():
        for name, records, bar, work in cases(options.records):
            work()  # compiles
            best = min(cpu_seconds(work) for _ in range(RUNS))
            speed = records / best / 1e6
            below |= bar is not None and speed < bar
            wanted = "" if bar is None else f", at least {bar:.0f}"
            sys.stdout.write(f"{name:24} {speed:6.1f} M/s{wanted}\n")
    return int(below)


def cpu_seconds(work: Callable[[], int]) -> float:
    """Return the CPU time that some work takes, seconds."""
    before = time.process_time()
    work()
    return time.process_time() - before


if __name__ == "__main__":
    sys.exit(main())
