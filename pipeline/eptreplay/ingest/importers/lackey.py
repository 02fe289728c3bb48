"""Valgrind's lackey (`--tool=lackey --trace-mem=yes`): every access of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.logs.lines import Log
from eptreplay.ingest.logs.patterns import Line, grammar
from eptreplay.ingest.trace.schema import Op

if TYPE_CHECKING:
    from collections.abc import Mapping


_FIELDS = "{address:hex},{size:dec}"
_LOG = Log(
    grammar(
        [
            Line(f"I {_FIELDS}{{op={Op.FETCH}}}"),
            Line(f" L {_FIELDS}{{op={Op.READ}}}"),
            Line(f" S {_FIELDS}{{op={Op.WRITE}}}"),
            Line(f" M {_FIELDS}{{op={Op.READ}}}{{record}}{{op={Op.WRITE}}}{{record}}"),
            Line("=={process:dec}=={rest}", "lines of Valgrind about itself"),
        ]
    ),
    "not a line that lackey prints",
)
_ORIGIN = Origin(
    "one memory access of a process, instruction fetches included; a modify is a load and a store",
    (Approximated.VIRTUAL, Approximated.NO_TIME, Approximated.NO_VCPU),
    virtual=True,
)


def _open(_options: Mapping[str, str]) -> Opened:
    return Opened(_ORIGIN, _LOG.accesses)


def _guess(head: bytes) -> bool:
    return b"Lackey, an example Valgrind tool" in head[:4096]


FORMAT = Format("lackey", "Valgrind's lackey, --trace-mem=yes", frozenset(), _open, _guess)
