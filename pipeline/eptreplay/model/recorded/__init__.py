"""Operations, checksums and hashes as recordings of a real kernel have them."""
