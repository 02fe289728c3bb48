"""The footer of a Parquet file, read and checked before pyarrow sees it.

pyarrow ends the process when it is asked about a row group whose footer is damaged
(an unknown codec, a missing column), since its metadata classes let C++ exceptions
escape. So the footer is parsed here, and refused here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from eptreplay.errors import TraceError
from eptreplay.ingest.parquet.thrift import CompactReader, Struct, ThriftError
from eptreplay.ingest.taking.names import NAMES
from eptreplay.ingest.trace.extents import Extent, IndexPlaces

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from eptreplay.ingest.trace.remote_path import AnyPath

MAGIC = b"PAR1"
TAIL_BYTES = 8
"""A file ends in the length of its footer (4 bytes, little-endian) and the magic bytes."""

_CODECS = ("none", "snappy", "gzip", "lzo", "brotli", "lz4-hadoop", "zstd", "lz4")
_ENCODINGS = {
    0: "PLAIN",
    2: "PLAIN_DICTIONARY",
    3: "RLE",
    4: "BIT_PACKED",
    5: "DELTA_BINARY_PACKED",
    6: "DELTA_LENGTH_BYTE_ARRAY",
    7: "DELTA_BYTE_ARRAY",
    8: "RLE_DICTIONARY",
    9: "BYTE_STREAM_SPLIT",
}
_INT32, _INT64, _BYTE_ARRAY, _FIXED_BYTES = 1, 2, 6, 7
_PHYSICAL_TYPES = 8
_VALUE_BYTES = {_INT32: 4, _INT64: 8}
_ALL_BYTES_THERE = {"PLAIN", "BYTE_STREAM_SPLIT", "RLE", "BIT_PACKED"}
"""Encodings of a chunk that stores all bytes of every value: the last two hold its levels."""

_MAX_EXPANSION = 1 << 16
"""No codec but brotli packs more bytes than this into one; zstd reaches half of it."""

_REWRITE = "the file is damaged or not what it says: copy or convert it again"


class Chunk(NamedTuple):
    """One column of one row group.

    Args:
        extent: where its pages are.
        codec: name of its compression, as pyarrow's writer takes it.
        encodings: names of the encodings of its pages.
        dictionary: whether it has a dictionary page.
        low: smallest value, if the statistics say: an integer, or text for `guest`.
        high: largest value.
        nulls: number of nulls, if the statistics say.
        page_index: where its page index is, if it has one.
    """

    extent: Extent
    codec: str
    encodings: frozenset[str]
    dictionary: bool
    low: int | str | None
    high: int | str | None
    nulls: int | None
    page_index: IndexPlaces | None = None


class Group(NamedTuple):
    """One row group: its rows, and its chunks of known columns by name."""

    rows: int
    chunks: Mapping[str, Chunk]


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself.

    Args:
        groups: row groups in order.
        metadata: key-value metadata.
        digest: SHA-256 of the footer, in hexadecimal; another file has another.
    """

    groups: tuple[Group, ...]
    metadata: dict[str, str]
    digest: str


def parse_footer(path: AnyPath, data: bytes, file_bytes: int, renamed: Collection[str] = ()) -> Footer:
    """Parse a footer and refuse what the file cannot hold.

    Any number of rows is decoded in bounded batches, so a small file with many rows
    is no fault in itself: a constant column takes a few bytes. What is refused are
    contradictions: row counts that differ, chunks outside the file, chunks that
    together are larger than it, values that need more bytes than their chunk has,
    and chunks that would expand beyond what a codec can do.

    Args:
        path: the file, for messages.
        data: the bytes of the footer.
        file_bytes: size of the file.
        renamed: names of columns that are known beside those of `taking.names`.

    Raises:
        TraceError: naming the row group and the column.
    """
    try:
        return _Parser(path, file_bytes, renamed).parse(data)
    except (ThriftError, UnicodeDecodeError) as error:
        raise TraceError(
            str(path), f"its footer is damaged ({error})", expected="a Parquet file", advice=_REWRITE
        ) from error


def footer_digest(data: bytes) -> str:
    """The SHA-256 of a footer's bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def untyped_columns(data: bytes) -> list[str]:
    """Return the columns of a footer whose values are so many bytes and nothing more, as writers store wide integers."""
    reader = CompactReader(data)
    for number, kind in reader.fields():
        value = reader.value(kind)
        if number == 2:
            elements = map(_struct, _list(value))
            return [
                cast("bytes", element.get(4, b"")).decode("utf-8", "replace")  # bytes: _leaf_paths
                for element in elements
                if element.get(1) == _FIXED_BYTES and not {6, 10} & element.keys()  # what the bytes mean
            ]
    return []


class _Parser:
    """Collects one file's footer."""

    def __init__(self, path: AnyPath, file_bytes: int, renamed: Collection[str]) -> None:
        self._path = str(path)
        self._renamed = renamed
        self._file_bytes = file_bytes
        self._leaves: list[list[bytes]] = []
        self._groups: list[Group] = []
        self._stored = 0

    def parse(self, data: bytes) -> Footer:
        reader = CompactReader(data)
        top: Struct = {}
        for number, kind in reader.fields():
            if number == 4:
                # Row groups may be many: each is boiled down before the next is read.
                for element in reader.elements(kind):
                    self._groups.append(self._group(_struct(reader.value(element))))
            else:
                top[number] = reader.value(kind)
            if number == 2:
                self._leaves = _leaf_paths(_list(top[2]))
        rows = sum(group.rows for group in self._groups)
        if _int(top, 3) != rows:
            raise self._fault(f"the footer claims {_int(top, 3):,} rows, its row groups {rows:,}")
        if self._stored > self._file_bytes:
            raise self._fault(
                f"the footer claims {self._stored:,} bytes of column data for {rows:,} rows, "
                f"the file has {self._file_bytes:,}"
            )
        groups = self._groups if _ordered(top, len(self._leaves)) else [_unordered(g) for g in self._groups]
        return Footer(tuple(groups), _metadata(_list(top.get(5, []))), footer_digest(data))

    def _group(self, raw: Struct) -> Group:
        index, rows = len(self._groups), _int(raw, 3)
        columns = _list(raw.get(1))
        if rows < 0:
            raise self._fault(f"the footer claims {rows:,} rows", row_group=index)
        if len(columns) != len(self._leaves):
            raise self._fault(
                f"the footer lists {len(columns)} columns, the schema {len(self._leaves)}", row_group=index
            )
        chunks = {}
        for leaf, column in zip(self._leaves, columns, strict=True):
            name = b".".join(leaf).decode("utf-8", "replace")
            meta = self._chunk_metadata(_struct(column), leaf, name, index)
            fault = _unknown(meta)
            # A row group without rows is never read, and its chunks may be nowhere.
            if rows and not fault:
                fault = _contradiction(meta, rows, self._is_known(name), self._file_bytes)
            if fault:
                raise self._fault(fault, column=name, row_group=index)
            self._stored += _int(meta, 7) if rows else 0
            if self._is_known(name):
                chunks[name] = _chunk(meta)._replace(page_index=_page_index(_struct(column)))
        return Group(rows, chunks)

    def _is_known(self, name: str) -> bool:
        return name.lower() in NAMES or name in self._renamed

    def _chunk_metadata(self, column: Struct, leaf: list[bytes], name: str, index: int) -> Struct:
        if 8 in column or 9 in column:
            raise self._fault("the column is encrypted", column=name, row_group=index)
        meta = _struct(column.get(3))
        if 1 in column or _list(meta.get(3)) != leaf:
            raise self._fault(
                "the footer points to another file or another column", column=name, row_group=index
            )
        return meta

    def _fault(self, found: str, *, column: str | None = None, row_group: int | None = None) -> TraceError:
        return TraceError(self._path, found, column=column, row_group=row_group, advice=_REWRITE)


def _unknown(meta: Struct) -> str:
    """Which code in the metadata of a chunk means nothing, in words; empty if none."""
    if not 0 <= _int(meta, 1) < _PHYSICAL_TYPES:
        return f"the physical type {_int(meta, 1)} is unknown"
    if not 0 <= _int(meta, 4) < len(_CODECS):
        return f"the compression codec {_int(meta, 4)} is unknown"
    if not all(isinstance(encoding, int) and encoding in _ENCODINGS for encoding in _list(meta.get(2))):
        return "an encoding is unknown"
    return ""


def _contradiction(meta: Struct, rows: int, known: bool, file_bytes: int) -> str:
    """What cannot be in the metadata of a chunk, in words; empty if all can."""
    (start, packed, plain), values = _extent(meta), _int(meta, 5)
    width = _VALUE_BYTES.get(_int(meta, 1), 0) if known and _encodings(meta) <= _ALL_BYTES_THERE else 0
    if packed < 0 or plain < 0 or (known and values != rows):
        return f"the footer claims {values:,} values for {rows:,} rows in {packed:,} bytes"
    if start < len(MAGIC) or start + packed > file_bytes - TAIL_BYTES:
        return f"the footer places {packed:,} bytes at offset {start:,} of a file of {file_bytes:,}"
    if _CODECS[_int(meta, 4)] != "brotli" and plain > packed * _MAX_EXPANSION:
        return f"the footer claims {plain:,} bytes of values in {packed:,} compressed bytes"
    stored = rows - min(rows, _nulls(meta) or 0)  # a null has no bytes
    if plain < stored * width:
        return f"the footer claims {stored:,} values of {width} bytes each in {plain:,} bytes"
    return ""


def _extent(meta: Struct) -> Extent:
    data, dictionary = _int(meta, 9), _dictionary_offset(meta)
    return Extent(min(data, dictionary) if dictionary else data, _int(meta, 7), _int(meta, 6))


def _dictionary_offset(meta: Struct) -> int:
    """Where the dictionary page is; 0, as some writers put it, if there is none."""
    return _int(meta, 11) if 11 in meta else 0


def _encodings(meta: Struct) -> frozenset[str]:
    return frozenset(_ENCODINGS[cast("int", encoding)] for encoding in _list(meta.get(2)))


def _chunk(meta: Struct) -> Chunk:
    statistics = _struct(meta.get(12, {}))
    # Without min_value and max_value there are only the old fields, whose order is
    # undefined for unsigned integers.
    exact = statistics.get(7, True) is True and statistics.get(8, True) is True
    low, high = (_bound(statistics.get(field), _int(meta, 1)) if exact else None for field in (6, 5))
    return Chunk(
        extent=_extent(meta),
        codec=_CODECS[_int(meta, 4)],
        encodings=_encodings(meta),
        dictionary=_dictionary_offset(meta) > 0,
        low=low,
        high=high,
        nulls=_nulls(meta),
    )


def _nulls(meta: Struct) -> int | None:
    """How many nulls a chunk has, if its statistics say."""
    nulls = _struct(meta.get(12, {})).get(3)
    return nulls if isinstance(nulls, int) else None


def _page_index(column: Struct) -> IndexPlaces | None:
    places = [column.get(field) for field in (4, 5, 6, 7)]
    if not all(isinstance(place, int) for place in places):
        return None
    return IndexPlaces(*cast("list[int]", places))


def _bound(raw: object, physical: int) -> int | str | None:
    if not isinstance(raw, bytes):
        return None
    if physical == _BYTE_ARRAY:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:  # bytes that are no text, or text that was cut within a letter
            return None
    return int.from_bytes(raw, "little") if len(raw) == _VALUE_BYTES.get(physical) else None


def _ordered(top: Struct, leaves: int) -> bool:
    """Whether the footer says that statistics follow the order of the columns' types."""
    orders = _list(top.get(7, []))
    return len(orders) == leaves and all(1 in _struct(order) for order in orders)


def _unordered(group: Group) -> Group:
    return Group(group.rows, {name: c._replace(low=None, high=None) for name, c in group.chunks.items()})


def _leaf_paths(schema: list[object]) -> list[list[bytes]]:
    """Paths of the columns that hold values, out of the schema's flattened tree."""
    paths: list[list[bytes]] = []
    at = 0

    def walk(prefix: list[bytes]) -> None:
        nonlocal at
        if at >= len(schema) or len(prefix) > 100:
            raise ThriftError("the schema is no tree")
        element = _struct(schema[at])
        name = element.get(4)
        if not isinstance(name, bytes):
            raise ThriftError("a column has no name")
        at += 1
        children = element.get(5, 0)
        path = [*prefix, name]
        if not isinstance(children, int) or children < 0 or children > len(schema):
            raise ThriftError("the schema is no tree")
        if not children and prefix:
            paths.append(path[1:])
        for _ in range(children):
            walk(path)

    walk([])
    if at != len(schema):
        raise ThriftError("the schema is no tree")
    return paths


def _metadata(pairs: list[object]) -> dict[str, str]:
    """Key-value metadata as text, without the Arrow schema that is kept among it."""
    result = {}
    for pair in pairs:
        key, value = _struct(pair).get(1), _struct(pair).get(2, b"")
        if isinstance(key, bytes) and isinstance(value, bytes) and key != b"ARROW:schema":
            result[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return result


def _int(struct: Struct, field: int) -> int:
    value = struct.get(field)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ThriftError(f"field {field} is no number")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ThriftError("a list is missing")
    return value


def _struct(value: object) -> Struct:
    if not isinstance(value, dict):
        raise ThriftError("a struct is missing")
    return value
