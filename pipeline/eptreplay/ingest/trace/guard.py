"""What guards a trace against damage that decodes."""

from __future__ import annotations

from enum import StrEnum

MANIFEST = "SHA256SUMS"
"""A file beside a trace that lists its digest."""


class Guard(StrEnum):
    """What a file was verified by, the weakest first."""

    NOTHING = ""
    CHECKSUMS = "page checksums"
    MANIFEST = MANIFEST
