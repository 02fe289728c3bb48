"""eptreplay: guest memory traces replayed through FreeBSD's nested page tables."""

__version__ = "0.1.0"
