"""One file per command: its arguments and help, for typer, which reads the annotations while the program runs."""
