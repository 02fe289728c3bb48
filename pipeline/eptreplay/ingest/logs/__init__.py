"""Logs of other tools: text, line by line, matched against templates."""
