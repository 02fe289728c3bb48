"""Pin's example pinatrace, and its forks that print a size behind the address: loads and stores of a process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.logs.lines import Log
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from collections.abc import Mapping


_FIELDS = "{_}0x{pc:hex}: {op:word kinds} 0x{address:hex}"
_LOG = Log(
    grammar(
        [
            Line(f"{_FIELDS}{{size=1}}"),
            Line(f"{_FIELDS} {{size:dec}}"),
            Line(f"{_FIELDS} {{size:dec}} {{rest}}"),
            Line("{_}#{rest}", "comments"),
            Line("{_}", "empty lines"),
        ],
        {"kinds": {"r": Op.READ, "w": Op.WRITE}},
    ),
    "not a line that pinatrace prints",
)
_ORIGIN = Origin(
    "one load or store of a process",
    (
        Approximated.VIRTUAL,
        Approximated.NO_TIME,
        Approximated.NO_VCPU,
        Approximated.NO_SIZE,
        Approximated.NO_FETCHES,
    ),
    virtual=True,
)
_FIRST = re.compile(rb"(?m)^\s*0x[0-9a-fA-F]+: [RW] 0x[0-9a-fA-F]+")


def _open(_options: Mapping[str, str]) -> Opened:
    return Opened(_ORIGIN, _LOG.accesses)


def _guess(head: bytes) -> bool:
    lines = [line for line in head.splitlines()[:20] if line.strip() and not line.startswith(b"#")]
    return bool(lines) and _FIRST.match(lines[0]) is not None


FORMAT = Format("pinatrace", "Pin's pinatrace and its forks", frozenset(), _open, _guess)
