"""The kinds of recordings."""

from __future__ import annotations

VECTORS = "vectors"
GOLDEN = "golden replays"
PAGEOUT = "page daemon replays"
TINY = "tiny scenarios"
