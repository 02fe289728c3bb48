"""One large guest on several threads, in shares of its memory."""
