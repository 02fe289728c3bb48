"""A run in parts that any scheduler carries out: groups of hosts, balanced by rows, each a task of its own."""
