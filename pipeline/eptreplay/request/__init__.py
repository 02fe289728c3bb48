"""Every option of a replay: its name, type, default and help, and what it means; the command line, plans and Python share it."""
