"""What a replay holds of a host: its memory, its profiles, the shape of its TLBs."""
