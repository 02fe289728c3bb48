"""Taking columns as other writers leave them: one lossless step from what a file has to the exact types of the schema."""
