"""DynamoRIO's drmemtrace as its tool view prints it (`-simulator_type view`, since version 9.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.lines import LARGEST, Log
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.logs.trace_events import numbers_of
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eptreplay.ingest.importing.dropped import Dropped

_KINDS = {"read": Op.READ, "write": Op.WRITE, "ifetch": Op.FETCH}
_OTHERS = {
    "pref": "prefetches",
    "hardware": "prefetches",
    "encoding": "encodings of instructions",
    "flush": "flushes of caches",
    "iflush": "flushes of caches",
    "dflush": "flushes of caches",
    "non-fetched": "instructions that were not fetched",
}
"""What other records begin with, and what they are."""
_OF_ITSELF = "what the tool prints about itself"
_THREADS = ("{_}{record_number:dec} {instruction:dec}: {thread:dec}", "{_}{record_number:dec}: T{thread:dec}")
"""What a line begins with: numbers of record and instruction, thread; before version 9.90 the number of the record and the thread."""
_LOG = Log(
    grammar(
        [
            *(
                Line(f"{thread} {{op:word kinds}} {{size:dec}} byte(s) @ 0x{{address:hex}}{{_}}{{rest}}")
                for thread in _THREADS
            ),
            *(Line(f"{thread} <{{rest}}", "markers") for thread in _THREADS),
            *(
                Line(f"{thread} {kind}{{rest}}", reason)
                for thread in _THREADS
                for kind, reason in _OTHERS.items()
            ),
            Line("---{rest}", "lines between threads"),
            Line("Output format:", _OF_ITSELF),
            Line("<{rest}", _OF_ITSELF),
            Line("View tool results:", _OF_ITSELF),
            Line("{_}{x:dec} : {rest}", _OF_ITSELF),
            Line("===={rest}", _OF_ITSELF),
            Line("{_}", "empty lines"),
        ],
        {"kinds": _KINDS},
    ),
    "not a line that drmemtrace's view prints",
)
_ORIGIN = Origin(
    "one memory access of a process, instruction fetches included",
    (Approximated.VIRTUAL, Approximated.NO_TIME, Approximated.THREADS_SCHEDULED),
    virtual=True,
)


def _open(_options: Mapping[str, str]) -> Opened:
    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        threads: dict[int, int] = {}
        for found in _LOG.read(stream, dropped):
            values = found.values
            yield Records(
                address=values["address"],
                op=values["op"].astype(np.uint8),
                vcpu=numbers_of(values["thread"], threads),
                size=np.minimum(values["size"], LARGEST).astype(np.uint32),
                place=found.place,
            )

    return Opened(_ORIGIN, read)


def _guess(head: bytes) -> bool:
    return b" byte(s) @ 0x" in head


FORMAT = Format("drmemtrace-view", "DynamoRIO's drmemtrace, -simulator_type view", frozenset(), _open, _guess)
