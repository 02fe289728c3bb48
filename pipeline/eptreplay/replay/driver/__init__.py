"""Driving the model: replaying rows, stopping where something is due, collecting what was found."""
