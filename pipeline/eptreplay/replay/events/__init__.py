"""Events: what a host does to a guest between two accesses, carried out and followed."""
