"""What a replay found: plain data, which knows nothing of who found it."""
