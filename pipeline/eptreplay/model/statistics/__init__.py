"""What the trace itself did, whatever a CPU records of it: interval statistics, reuse distances, samples."""
