"""Techniques of compiled code that know nothing of the model: pointers to structures, prefetches, vectors, words of bits."""
