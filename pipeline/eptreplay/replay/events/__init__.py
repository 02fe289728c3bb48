"""What a host does to a guest between two accesses."""
