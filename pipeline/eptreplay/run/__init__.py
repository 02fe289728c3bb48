"""A run: guests times profiles on executors, and the folder that it leaves."""
