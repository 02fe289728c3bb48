"""Hosts divided into parts with about as many rows each."""

from __future__ import annotations

import heapq
import json
from typing import TYPE_CHECKING

from eptreplay.errors import OutputError
from eptreplay.run.unfinished.durable import whole_file
from eptreplay.run.unfinished.folder import SHARES_FILE
from eptreplay.tables.files import inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.run.unfinished.folder import Work

BEGIN = "begin with eptreplay batch init"


def balanced(rows: Sequence[int], parts: int) -> list[list[int]]:
    """Divide hosts into parts: the largest first, each into the part that has fewest rows; the same answer every time.

    Args:
        rows: of every host.
        parts: how many, at least 1.

    Returns:
        The numbers of the hosts of every part, ascending; a part may have none.
    """
    shares: list[list[int]] = [[] for _ in range(parts)]
    least = [(0, number) for number in range(parts)]
    for unit in sorted(range(len(rows)), key=lambda unit: (-rows[unit], unit)):
        total, number = heapq.heappop(least)
        shares[number].append(unit)
        heapq.heappush(least, (total + rows[unit] + 1, number))
    return [sorted(share) for share in shares]


def write_shares(work: Work, shares: Sequence[Sequence[int]]) -> None:
    """Write which hosts every part has.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(work.folder / SHARES_FILE) as file:
        file.write(json.dumps({"parts": shares}).encode())


def read_shares(work: Work) -> list[list[int]]:
    """Return which hosts every part has.

    Raises:
        OutputError: the run was not begun in parts, or the file is damaged.
    """
    path = inside(work.folder, SHARES_FILE)
    try:
        shares = json.loads(path.read_bytes())["parts"]
        known = sorted(unit for share in shares for unit in share)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); {BEGIN}") from error
    if known != list(range(len(work.units))):
        raise OutputError(f"{path}: does not have every guest in one part; {BEGIN}")
    return [[int(unit) for unit in share] for share in shares]
