"""The rows of traces in order, and where along them a replay has to stop."""
