"""Measurements for `eptreplay bench` and `make bench`."""
