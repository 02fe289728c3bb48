"""The schema of native traces: columns, rows, and the checks of both."""
