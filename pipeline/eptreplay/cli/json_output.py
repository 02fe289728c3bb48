"""JSON that a command writes beside what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from eptreplay.ingest.native.whole_file import whole_file

STANDARD_OUTPUT = "-"


def write_json(target: str, content: dict[str, Any]) -> None:
    """Write JSON to a file, which appears whole or not at all, or to standard output.

    A file that is there is replaced: nothing but figures is in it.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(content, indent=2) + "\n"
    if target == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    with whole_file(Path(target), overwrite=True) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
