"""Object stores and web servers, read in ranges of bytes."""
