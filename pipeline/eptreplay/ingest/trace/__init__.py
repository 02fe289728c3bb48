"""What a trace is: its schema, and what is known of it before a row is read; plain data."""
