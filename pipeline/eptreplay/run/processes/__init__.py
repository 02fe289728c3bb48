"""Hosts of a run replayed by processes, so that one that kills its process costs its own guests and no others."""
