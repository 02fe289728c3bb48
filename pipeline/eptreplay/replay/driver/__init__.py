"""Driving the model: rows in, stops where something is due, and what was found collected."""
