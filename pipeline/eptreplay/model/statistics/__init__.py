"""What the trace itself did, interval by interval, whatever a CPU can record of it."""
