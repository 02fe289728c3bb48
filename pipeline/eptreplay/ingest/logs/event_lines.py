"""What traces of kernel events have in common, whether ftrace, trace-cmd or perf script prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eptreplay.ingest.logs.patterns import Line
from eptreplay.ingest.logs.text_numbers import NO_CPU
from eptreplay.ingest.logs.trace_events import numbers_of
from eptreplay.ingest.trace.schema import VCPUS_MAX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eptreplay.ingest.logs.lines import Matched

OTHER_LINES = (
    Line("{find : }{head}{rest}", "other events"),
    Line("{_}#{rest}", "comments"),
    Line("{_}", "empty lines"),
    Line("cpus={x:dec}", "lines of trace-cmd about itself"),
    Line("version = {x:dec}", "lines of trace-cmd about itself"),
    Line("{find [LOST }{rest}", "lines that say that events were lost"),
    Line("{find [lost }{rest}", "lines that say that events were lost"),
    Line(" {x:hex} {rest}", "call chains"),
)
"""Lines that are none of the events that a format looks for."""


def vcpus_of(found: Matched, known: dict[int, int]) -> NDArray[np.uint16]:
    """Return a vCPU for each record: its CPU, or the number of its thread where a line names no CPU.

    Args:
        found: records of lines with `{head}`.
        known: numbers of threads until now, added to.
    """
    cpu = found.values["cpu"]
    none = cpu == NO_CPU
    if not none.any():
        return np.minimum(cpu, VCPUS_MAX - 1).astype(np.uint16)
    return numbers_of(found.values["thread"], known)
