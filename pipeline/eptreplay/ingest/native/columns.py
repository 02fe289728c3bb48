"""Are the columns of a file those of a trace?"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from eptreplay.errors import TraceError
from eptreplay.ingest.trace.schema import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from eptreplay.ingest.trace.remote_path import AnyPath


def check_columns(path: AnyPath, schema: pa.Schema, stored: Sequence[str] = ()) -> dict[str, str]:
    """Compare a file's schema with the trace format.

    Args:
        path: the file, for messages.
        schema: its Arrow schema, as it is taken.
        stored: names of all columns of the file, if that is not exactly the schema.

    Returns:
        The known columns the file has, each with its type in words; others are ignored.

    Raises:
        TraceError: a required column is missing, a column stands twice, or one has
            a type the format does not allow.
    """
    found: dict[str, str] = {}
    for column in COLUMNS:
        fields = [field for field in schema if field.name == column.name]
        if not fields and column.required:
            names = ", ".join((stored or schema.names)[:12]) or "none"
            raise TraceError(
                str(path),
                f"this column is missing (columns of the file: {names:.200})",
                column=column.name,
                expected=f"{column.accepted()}: {column.meaning}",
                advice=f"if another one is this, say which: eptreplay pack {shlex.quote(str(path))} -o OUT --column {column.name}=NAME; "
                "otherwise add it",
            )
        if len(fields) > 1:
            raise TraceError(str(path), f"this column stands {len(fields)} times", column=column.name)
        if fields and fields[0].type not in column.types:
            raise TraceError(
                str(path),
                f"the type is {fields[0].type!s:.80}",
                column=column.name,
                expected=f"{column.accepted()}: {column.meaning}",
                advice="nothing makes the one of the other without loss; cast the column and write the file again",
            )
        if fields:
            found[column.name] = str(fields[0].type)
    return found
