"""The pages: an index, and one page per guest."""
