"""From what a replay found to rows of the result tables."""
