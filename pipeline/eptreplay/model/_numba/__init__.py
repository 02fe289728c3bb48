"""Tricks of compilation: pointers, prefetches, vectors of lanes, words of bits."""
