"""The schema of every result table, and how tables are written and read; everything else may use it."""
