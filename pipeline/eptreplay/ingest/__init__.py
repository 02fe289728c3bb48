"""Traces in: finding, checking, reading, cutting and making them."""
