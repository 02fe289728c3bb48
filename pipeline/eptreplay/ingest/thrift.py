"""The part of Thrift's compact protocol that a Parquet footer is written in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_MAX_DEPTH = 32
_VARINT_BYTES = 10

Struct = dict[int, object]
"""Values of a struct by field number: bool, int, bytes, list or Struct; doubles are their 8 bytes."""


class ThriftError(ValueError):
    """The bytes are not what the protocol allows."""


class CompactReader:
    """Reads structs out of bytes that may hold anything.

    Never reads outside the bytes, and never makes more than they pay for: a list
    of n elements needs n bytes to be there.

    Args:
        data: the bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._depth = 0
        self._readers: dict[int, Callable[[], object]] = {
            _BYTE: self._byte,
            _I16: self._zigzag,
            _I32: self._zigzag,
            _I64: self._zigzag,
            _DOUBLE: self._double,
            _BINARY: self._binary,
            _LIST: self._list,
            _SET: self._list,
            _MAP: self._map,
            _STRUCT: self._struct,
        }

    def fields(self) -> Iterator[tuple[int, int]]:
        """Walk the fields of the struct that begins here.

        Yields:
            Field number and wire type. The caller reads each value, with `value` or
            `elements`, before it takes the next field.

        Raises:
            ThriftError: the bytes break the protocol.
        """
        number = 0
        while True:
            head = self._byte()
            kind = head & 0x0F
            if kind == _STOP:
                return
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            yield number, kind

    def elements(self, kind: int) -> Iterator[int]:
        """Walk the elements of the list that begins here.

        Args:
            kind: wire type of the field.

        Yields:
            The wire type of each element. The caller reads each value, with `value`
            or `fields`, before it takes the next element.

        Raises:
            ThriftError: this is no list, or the bytes break the protocol.
        """
        if kind not in {_LIST, _SET}:
            raise ThriftError(f"type {kind} where a list should be")
        head = self._byte()
        length = self._varint() if head >> 4 == 0x0F else head >> 4
        self._need(length)
        for _ in range(length):
            yield head & 0x0F

    def value(self, kind: int, *, in_list: bool = False) -> object:
        """Read the value of a wire type.

        Args:
            kind: the wire type.
            in_list: whether it is the element of a list, where a bool has a byte of its own.

        Raises:
            ThriftError: the bytes break the protocol.
        """
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ThriftError("nested too deeply")
        try:
            return self._value(kind, in_list)
        finally:
            self._depth -= 1

    def _value(self, kind: int, in_list: bool) -> object:
        if kind in {_TRUE, _FALSE}:
            return (self._byte() if in_list else kind) == _TRUE
        read = self._readers.get(kind)
        if read is None:
            raise ThriftError(f"type {kind} is unknown")
        return read()

    def _double(self) -> bytes:
        return self._bytes(8)

    def _binary(self) -> bytes:
        return self._bytes(self._varint())

    def _list(self) -> list[object]:
        return [self.value(element, in_list=True) for element in self.elements(_LIST)]

    def _struct(self) -> Struct:
        return {number: self.value(kind) for number, kind in self.fields()}

    def _map(self) -> list[tuple[object, object]]:
        length = self._varint()
        self._need(length)
        kinds = self._byte() if length else 0
        return [
            (self.value(kinds >> 4, in_list=True), self.value(kinds & 0x0F, in_list=True))
            for _ in range(length)
        ]

    def _need(self, length: int) -> None:
        if length > len(self._data) - self._at:
            raise ThriftError("the bytes end too early")

    def _byte(self) -> int:
        self._need(1)
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _bytes(self, length: int) -> bytes:
        self._need(length)
        self._at += length
        return self._data[self._at - length : self._at]

    def _varint(self) -> int:
        value = shift = 0
        for _ in range(_VARINT_BYTES):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise ThriftError("a number is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
