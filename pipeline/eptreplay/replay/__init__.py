"""The driver around the model: rows and events in, what was found out."""
