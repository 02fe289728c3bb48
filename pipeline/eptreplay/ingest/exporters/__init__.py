"""Native traces out, for other tools: one file a format."""
