"""Kinds of recordings of a real kernel, by the names that `conform` has for them (docs/conformance.md)."""

VECTORS = "vectors"
GOLDEN = "golden replays"
PAGEOUT = "page daemon replays"
TINY = "tiny scenarios"
