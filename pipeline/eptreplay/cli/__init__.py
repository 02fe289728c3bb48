"""The command line: what commands there are, what each prints, and how it talks to a person."""
