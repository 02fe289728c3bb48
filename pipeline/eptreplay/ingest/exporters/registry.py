"""Every format that a native trace can be turned into: a file beside this one and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eptreplay.errors import UsageError
from eptreplay.ingest.exporters import csv, lcs, oracle_general

if TYPE_CHECKING:
    from eptreplay.ingest.importing.format import Export

EXPORTS: tuple[Export, ...] = (csv.EXPORT, oracle_general.EXPORT, lcs.EXPORT)
"""In the order of the help."""


def export_named(name: str) -> Export:
    """Return what writes a format.

    Raises:
        UsageError: there is none of this name.
    """
    for each in EXPORTS:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in EXPORTS)
    raise UsageError(
        f"a trace cannot be exported as '{name}', but as {known}; 'eptreplay export --help' shows how"
    )
