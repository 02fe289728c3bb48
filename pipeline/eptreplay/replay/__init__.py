"""The driver around the model: rows and events go in, what was found comes out."""
