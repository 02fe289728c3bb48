"""The pages: an index, and a page a guest."""
