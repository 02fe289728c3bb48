"""The answers on top of a page, and what they compare."""
