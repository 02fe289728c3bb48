"""Under which other names a column is known; only names that can mean nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eptreplay.ingest.trace.schema import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IS_WRITE = "is_write"

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "time": (
        "timestamp",
        "time_ps",
        "time_ns",
        "time_us",
        "time_ms",
        "time_s",
        "timestamp_ns",
        "timestamp_us",
    ),
    "vcpu": ("vcpu_id", "cpu", "cpu_id"),
    "gpa": ("guest_physical_address", "guest_phys_addr", "phys_addr", "physical_address", "paddr"),
    "op": (IS_WRITE, "operation", "access_type"),
    "size": ("access_size",),
}
"""Names by the column they stand for. `address` is none of them: a process's addresses have that name, too."""

KNOWN = frozenset(column.name for column in COLUMNS)
NAMES = KNOWN.union(*OTHER_NAMES.values())
"""Every name, in lower case, that may be a column's."""


class Found(NamedTuple):
    """A column of a file and the column of the schema that it is."""

    name: str
    known: str

    @property
    def unit(self) -> str | None:
        """The unit of time that its name says."""
        tail = self.name.lower().rpartition("_")[2]
        return tail if self.known == "time" and tail in {"ps", "ns", "us", "ms", "s"} else None


def find_columns(names: Sequence[str], renamed: Mapping[str, str]) -> list[Found]:
    """Tell which columns of a file are columns of a trace.

    A column by its own name comes before one by another name, and one in its own case before one in another. Where several
    are left for one, none is taken: nothing says which is meant.

    Args:
        names: of the file's columns, in order.
        renamed: names of columns of the file by column of the schema, as the user gave them; they come before all others.

    Returns:
        Them in the order of the schema; one twice if it stands twice.
    """
    found: list[Found] = []
    for column in COLUMNS:
        name = column.name
        others = OTHER_NAMES.get(name, ())
        given = set(renamed.values()) - ({renamed[name]} if name in renamed else set())
        choices = [
            [each for each in names if each == renamed.get(name)],
            [each for each in names if each == name],
            [each for each in names if each.lower() == name],
            [each for each in names if each.lower() in others and each not in given],
        ]
        taken = choices[0] if name in renamed else next(filter(None, choices), [])
        if len(taken) == 1 or (taken and taken[0] in {name, renamed.get(name)}):
            found.extend(Found(each, name) for each in taken)
    return found
