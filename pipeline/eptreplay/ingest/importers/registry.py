"""Every format that can be imported or exported: a format is a file beside this one and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eptreplay.ingest.importing.format import Export, Format

FORMATS: tuple[Format, ...] = ()
"""In the order in which their content is looked at, the surest first."""

EXPORTS: tuple[Export, ...] = ()
"""What a native trace can be turned into."""
