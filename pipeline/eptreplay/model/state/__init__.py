"""Every array of the model and every field of its records; the bits of page-table entries of both formats."""
