"""Made-up guests."""
