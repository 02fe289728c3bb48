"""A run as pages see it: run.json, tables guest by guest, and numbers as text."""
