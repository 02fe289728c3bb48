"""Recorded vectors and replays: their operations carried out on the model, and the checksums that they are compared by."""
