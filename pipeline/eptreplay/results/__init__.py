"""From what a replay found to the rows of the result tables: one file per table, or per two that belong together."""
