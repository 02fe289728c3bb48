"""The command line: `app` has the commands, and one file per command has what it does and prints."""
