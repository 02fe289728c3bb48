"""Compiled passes over the bytes of other tools' traces."""
