"""Traces written again: in the fastest layout, sorted by time, their pages numbered by first touch."""
