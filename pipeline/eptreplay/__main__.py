"""`python -m eptreplay`."""

from eptreplay.cli import main

main()
