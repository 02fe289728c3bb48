"""The path of an object in a store: what traces need of `pathlib.Path`, for what is not on this machine."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class RemoteFile(io.RawIOBase, ABC):
    """An object that is open for reading."""

    @abstractmethod
    def read_at(self, length: int, offset: int) -> bytes:
        """Return bytes from an offset on; fewer where the object ends.

        Raises:
            TraceError: the store does not give them.
        """

    @abstractmethod
    def expect(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Say which ranges of bytes, from and up to, will be read next; what was expected before is forgotten.

        Raises:
            TraceError: the store does not give them.
        """


class Store(Protocol):
    """What reads the objects of a store."""

    def open(self, path: RemotePath) -> RemoteFile:
        """Open an object.

        Raises:
            TraceError: it is not there, or the store does not answer or refuses.
        """

    def text(self, path: RemotePath) -> str:
        """Return a small object as text.

        Raises:
            FileNotFoundError: it is not there.
            TraceError: the store does not answer or refuses.
        """


@dataclass(frozen=True, slots=True, order=True)
class RemotePath:
    """An object of a store, or a folder of objects.

    Args:
        root: the beginning of its URL, as it may be shown: without user, password and signature.
        key: the rest, without a slash at its ends; empty: the root itself.
        store: reads it.
    """

    root: str
    key: str
    store: Store = field(compare=False, repr=False)

    def __str__(self) -> str:
        """Return the URL as it may be shown."""
        return f"{self.root}/{self.key}" if self.key else self.root

    def __truediv__(self, name: str) -> RemotePath:
        """Return the path of what has this name in this folder."""
        return RemotePath(self.root, f"{self.key}/{name}" if self.key else name, self.store)

    @property
    def name(self) -> str:
        """The last part of the key; empty for the root."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        """The folder it is in; that of the root is the root."""
        return RemotePath(self.root, self.key.rpartition("/")[0], self.store)

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        """The folders it is in, the nearest first."""
        found = []
        at = self
        while at.key:
            at = at.parent
            found.append(at)
        return tuple(found)

    @property
    def parts(self) -> tuple[str, ...]:
        """The root and the parts of the key."""
        return (self.root, *filter(None, self.key.split("/")))

    def absolute(self) -> RemotePath:
        """Return itself: no URL is relative."""
        return self

    def resolve(self) -> RemotePath:
        """Return itself: stores have no links."""
        return self

    def is_file(self) -> bool:
        """Return whether it is a small object that is there, and may be read; it is read for that, and kept.

        Raises:
            TraceError: the store does not answer.
        """
        try:
            self.read_text()
        except FileNotFoundError:
            return False
        except UnicodeDecodeError:
            return True  # reading it says so
        return True

    def open(self, mode: str = "rb") -> RemoteFile:
        """Open it for reading bytes; see `Store.open`."""
        if mode != "rb":
            raise ValueError(f"an object of a store cannot be opened as {mode!r}")
        return self.store.open(self)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return it as text, which is UTF-8; see `Store.text`."""
        if encoding != "utf-8":
            raise ValueError(f"an object of a store is not read as {encoding!r}")
        return self.store.text(self)


AnyPath = Path | RemotePath
"""Where a trace is."""
