"""What events cost, in cycles, time and share of run time."""
