"""The access loop: the fast path, the slow path, deferred accessed bits, sweeps, the dirty log, shares of a guest."""
