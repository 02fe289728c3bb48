"""Reports: result tables, and what is rendered from them alone."""
