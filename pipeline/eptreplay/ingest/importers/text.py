"""Text with named columns: CSV, TSV, blanks, DRAMSim2's traces, and what `perf mem report -D` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from eptreplay.errors import UsageError
from eptreplay.ingest.importing.format import Approximated, Format, Opened, Origin
from eptreplay.ingest.importing.records import Records
from eptreplay.ingest.logs.lines import BYTE_ORDER_MARK, Log, Matched, without
from eptreplay.ingest.logs.text_columns import (
    MODIFY,
    Layout,
    layout_of_header,
    layout_of_names,
    line_grammar,
)
from eptreplay.ingest.logs.trace_events import NO_ACCESS, op_of_data_source
from eptreplay.ingest.trace.schema import EVENT_MIN, VCPUS_MAX, Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from eptreplay.ingest.importing.dropped import Dropped

_SCALES = {"ns": 0, "us": 3, "ms": 6, "s": 9, "cycles": 0}
"""Digits of a fraction that are taken: times become ns, but for cycles."""
_MOST = np.uint64(2**32 - 1)


def _open(options: Mapping[str, str]) -> Opened:
    return _open_with(options, b"")


def _open_with(options: Mapping[str, str], head: bytes) -> Opened:
    """Return the importer of a text that begins with `head`.

    Raises:
        UsageError: neither options nor the first line say what the columns are, or an option has no effect.
    """
    lines = [line for line in _lines(head) if line.strip()]
    data = next((line for line in lines if not line.lstrip().startswith("#")), "")
    found = layout_of_header(lines[0]) if lines else None
    if "columns" in options:
        layout = layout_of_names(options["columns"], data if found is None or len(lines) < 2 else lines[1])
        layout = layout._replace(header=lines[0].strip() if found and not lines[0].startswith("#") else "")
    elif found is None:
        raise UsageError(
            "the first line names no columns; name them, as in --columns 'time,op,gpa': time, vcpu, op, gpa or va, size, count, "
            "arg, pid, dsrc, and - for one that is not read"
        )
    else:
        as_said = any(found.separator in line for line in lines[1:]) or len(lines) == 1
        layout = found if as_said else found._replace(separator=" ")
    if "time-unit" in options and "time" not in layout.columns:
        raise UsageError("--time-unit has no effect: no column is the time")
    unit = options.get("time-unit", "ns")
    log = Log(
        line_grammar(layout, scale=_SCALES[unit], hexadecimal="hex" in options),
        f"not a line of {len(layout.columns)} columns ({','.join(layout.columns)})",
        ends=False,
    )

    def read(stream: BinaryIO, dropped: Dropped) -> Iterator[Records]:
        for matched in log.read(stream, dropped):
            yield _records(matched, layout, dropped)

    return Opened(_origin(layout, "cycles" if unit == "cycles" else "ns"), read)


def _lines(head: bytes) -> list[str]:
    return head.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").splitlines()[:100]


def _origin(layout: Layout, unit: str) -> Origin:
    """Return what the records of a text are."""
    has = set(layout.columns)
    lacks = {
        Approximated.SAMPLED: "dsrc" in has,
        Approximated.VIRTUAL: layout.virtual,
        Approximated.NO_WRITES: not has & {"op", "dsrc"},
        Approximated.NO_TIME: "time" not in has,
        Approximated.NO_VCPU: "vcpu" not in has,
        Approximated.NO_SIZE: "size" not in has,
    }
    return Origin(
        f"one line of a text with the columns {', '.join(layout.columns)}",
        tuple(each for each, is_so in lacks.items() if is_so),
        virtual=layout.virtual,
        time_unit=unit if "time" in has else None,
    )


def _records(matched: Matched, layout: Layout, dropped: Dropped) -> Records:
    """Return the accesses of lines."""
    found = matched
    for name, limit in (("vcpu", VCPUS_MAX - 1), ("size", int(_MOST)), ("count", int(_MOST))):
        if name in layout.columns:
            large = found.values[name] > np.uint64(limit)
            found = without(found, large, f"its {name} is larger than {limit}", dropped.bad_records)
    op = _op(found, layout)
    kept = without(found, op == NO_ACCESS, "neither loads, stores nor fetches", dropped.leave_out)
    op = op if kept is found else op[op != NO_ACCESS]
    values, place = kept.values, kept.place
    if (op == MODIFY).any():
        source = np.repeat(np.arange(len(op)), np.where(op == MODIFY, 2, 1))
        second = np.concatenate([np.zeros(1, np.bool_), source[1:] == source[:-1]])
        op = np.where(op[source] == MODIFY, np.where(second, Op.WRITE, Op.READ), op[source]).astype(np.uint8)
        values = {name: each[source] for name, each in kept.values.items()}
        place = lambda index: kept.place(int(source[index]))  # noqa: E731 - it takes the place of the other
    has = set(layout.columns)
    return Records(
        address=values["address"],
        op=op,
        time=values["time"] if "time" in has else None,
        vcpu=values["vcpu"].astype(np.uint16) if "vcpu" in has else None,
        size=_sizes(values, op) if "size" in has else None,
        count=values["count"].astype(np.uint32) if "count" in has else None,
        arg=values["arg"] if "arg" in has else None,
        space=values["space"] if "space" in has and layout.virtual else None,
        place=place,
    )


def _op(found: Matched, layout: Layout) -> NDArray[np.uint8]:
    """Return the kind of access of each line."""
    if "op" in layout.columns:
        return found.values["op"].astype(np.uint8)
    if "dsrc" not in layout.columns:
        return np.full(len(found), Op.READ, np.uint8)
    return op_of_data_source(found.values["dsrc"])


def _sizes(values: Mapping[str, NDArray[np.uint64]], op: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return sizes; an event needs none."""
    size = values["size"].astype(np.uint32)
    return np.where((size == 0) & (op >= EVENT_MIN), np.uint32(1), size)


FORMAT = Format(
    "text",
    "text with named columns: CSV, TSV, blanks; DRAMSim2, perf mem report -D",
    frozenset({"columns", "hex", "time-unit"}),
    _open,
    None,
    open_with=_open_with,
)
