"""Tables from which ranks are drawn in proportion to 1 / rank ** skew, made in decimal arithmetic: the same on every machine."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING

import numpy as np

from eptreplay.ingest.scans.synth_rows import COLUMNS, Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

_SINGLE = 1024
"""Ranks that have a column each; a later column has ranks of which the last is a fiftieth more than the first."""
_STEP = 45
_WHOLE = 1 << 32
_EXACT = Context(prec=40)


def rank_columns(pages: int) -> list[tuple[int, int]]:
    """Return the first rank of each column, from 0, and how many it has: at most COLUMNS of them for 2^32 pages."""
    columns = [(rank, 1) for rank in range(min(pages, _SINGLE))]
    first = _SINGLE
    while first < pages:
        ranks = min(max(1, first // _STEP), pages - first)
        columns.append((first, ranks))
        first += ranks
    return columns


def weights(columns: Sequence[tuple[int, int]], skew: Decimal) -> list[Decimal]:
    """Return how often each column is drawn, in proportion: ranks of one column as often as its middle one."""
    found = []
    for first, ranks in columns:
        middle = first + 1 + Decimal(ranks - 1) / 2
        each = _EXACT.exp(_EXACT.multiply(-skew, _EXACT.ln(middle)))
        found.append(_EXACT.multiply(each, Decimal(ranks)))
    return found


def alias_tables(asked: Sequence[tuple[int, Decimal]]) -> Tables:
    """Return a table for each pair of pages and skew (Walker 1977, Vose 1991)."""
    shape = (max(1, len(asked)), COLUMNS)
    tables = Tables(np.zeros(shape, np.uint64), np.zeros(shape, np.uint64))
    for row, (pages, skew) in enumerate(asked):
        columns = rank_columns(pages)
        tables.ranks[row, : len(columns)] = [first << 32 | ranks for first, ranks in columns]
        tables.choice[row] = [keep << 16 | alias for keep, alias in _choices(_shares(weights(columns, skew)))]
    return tables


def _shares(drawn: Sequence[Decimal]) -> list[int]:
    """Return weights as whole numbers that are COLUMNS * 2^32 together; what rounding leaves is the first one's."""
    total = sum(drawn, Decimal(0))
    shares = [int(_EXACT.divide(_EXACT.multiply(each, Decimal(COLUMNS * _WHOLE)), total)) for each in drawn]
    shares += [0] * (COLUMNS - len(shares))
    shares[0] += COLUMNS * _WHOLE - sum(shares)
    return shares


def _choices(shares: list[int]) -> list[tuple[int, int]]:
    """Return of each column how many of 2^32 draws keep it, and the column that the others take: one that has more than its room."""
    choices = [(_WHOLE, 0)] * len(shares)
    small = [column for column, share in enumerate(shares) if share < _WHOLE]
    large = [column for column, share in enumerate(shares) if share >= _WHOLE]
    while small and large:
        column, giver = small.pop(), large[-1]
        choices[column] = (shares[column], giver)
        shares[giver] -= _WHOLE - shares[column]
        if shares[giver] < _WHOLE:
            small.append(large.pop())
    return choices
