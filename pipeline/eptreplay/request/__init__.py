"""Every option of a replay: its name, type, default and help, and what it means; knows no command line."""
