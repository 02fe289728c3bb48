"""Other tools' traces in: one file a format, and the registry of them."""
