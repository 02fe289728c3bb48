"""The part of Thrift's compact protocol that a Parquet footer is written in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _, _STRUCT = range(13)
_MAX_DEPTH = 32
_VARINT_BITS = 70

Struct = dict[int, object]
"""Values of a struct by field number: bool, int, bytes, list or Struct; doubles are their 8 bytes."""


class ThriftError(ValueError):
    """The bytes are not what the protocol allows."""


class CompactReader:
    """Reads structs out of bytes that may hold anything.

    Never makes more than the bytes pay for: a list of n elements needs n bytes.

    Args:
        data: the bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._at

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
            try:
                number, kind, self._at = _field(self._data, self._at, number)
            except IndexError:
                raise ThriftError(_SHORT) from None
            if kind == _STOP:
                return
            yield number, kind

    def elements(self, kind: int) -> Iterator[int]:
        """Walk the elements of the list that begins here.

        Args:
            kind: wire type of the field.

        Yields:
            The wire type of each element. The caller reads each value, with `value`,
            before it takes the next element.

        Raises:
            ThriftError: this is no list, or the bytes break the protocol.
        """
        if kind != _LIST:
            raise ThriftError(f"type {kind} where a list should be")
        try:
            length, kind, self._at = _list_head(self._data, self._at)
        except IndexError:
            raise ThriftError(_SHORT) from None
        for _ in range(length):
            yield kind

    def struct(self) -> Struct:
        """Read the struct that begins here.

        Raises:
            ThriftError: the bytes break the protocol.
        """
        value = self.value(_STRUCT)
        assert isinstance(value, dict)  # noqa: S101  narrows for the type checker
        return value

    def value(self, kind: int) -> object:
        """Read the value of a wire type.

        Raises:
            ThriftError: the bytes break the protocol.
        """
        try:
            value, self._at = _value(self._data, self._at, kind, 0)
        except IndexError:
            raise ThriftError(_SHORT) from None
        return value


_SHORT = "the bytes end too early"

# Functions of the bytes and a position, not methods: a footer has hundreds of values a
# row group, and reading them must not show beside the decoding of its rows.


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while shift < _VARINT_BITS:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ThriftError("a number is too long")


def _field(data: bytes, at: int, number: int) -> tuple[int, int, int]:
    head = data[at]
    at += 1
    if not head & 0x0F:
        return 0, _STOP, at
    if head >> 4:
        return number + (head >> 4), head & 0x0F, at
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), head & 0x0F, at


def _list_head(data: bytes, at: int) -> tuple[int, int, int]:
    head = data[at]
    length, at = (head >> 4, at + 1) if head < 0xF0 else _varint(data, at + 1)
    if length > len(data) - at:
        raise ThriftError(_SHORT)
    return length, head & 0x0F, at


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[object, int]:
    if _I16 <= kind <= _I64:
        value, at = _varint(data, at)
        return (value >> 1) ^ -(value & 1), at
    if kind in {_BINARY, _DOUBLE}:
        length, at = _varint(data, at) if kind == _BINARY else (8, at)
        if length > len(data) - at:
            raise ThriftError(_SHORT)
        return data[at : at + length], at + length
    if kind in {_TRUE, _FALSE}:
        return kind == _TRUE, at
    if kind == _BYTE:
        return data[at], at + 1
    return _container(data, at, kind, depth + 1)


def _container(data: bytes, at: int, kind: int, depth: int) -> tuple[object, int]:
    if depth > _MAX_DEPTH:
        raise ThriftError("nested too deeply")
    if kind == _STRUCT:
        struct: Struct = {}
        number, kind, at = _field(data, at, 0)
        while kind:
            struct[number], at = _value(data, at, kind, depth)
            number, kind, at = _field(data, at, number)
        return struct, at
    if kind in {_LIST, _SET}:
        length, kind, at = _list_head(data, at)
        # In a list a bool has a byte of its own.
        kind = _BYTE if kind in {_TRUE, _FALSE} else kind
        values = []
        for _ in range(length):
            value, at = _value(data, at, kind, depth)
            values.append(value)
        return values, at
    raise ThriftError(f"type {kind} is unknown")
