"""Every array of the model, and the bits of an entry of both formats."""
