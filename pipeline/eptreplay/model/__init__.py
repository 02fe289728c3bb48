"""The model of FreeBSD 10.0's amd64 pmap: numba and numpy only, no input or output."""
