"""The access loop: the fast path, the slow path, sweeps and the dirty log."""
