"""The comparison of profiles: values, bars and changes."""

from __future__ import annotations

from eptreplay.report.answers.measures import cells, split_zero_lines


def test_bars_are_shares_of_the_highest_and_changes_are_against_the_base() -> None:
    found = cells([10, 20, 5], ["ten", "twenty", "five"], [0, 0, 1])
    assert [cell["bar"] for cell in found] == [50, 100, 25]
    assert [cell["change"] for cell in found] == ["", "+100.0 %", "-75.0 %"]
    assert [cell["text"] for cell in found] == ["ten", "twenty", "five"]


def test_lines_of_zeros_are_told_apart() -> None:
    zeros = {"name": "IPIs", "cells": cells([0, 0], ["0", "0"], [0, 0])}
    others = {"name": "exits", "cells": cells([0, 1], ["0", "1"], [0, 0])}
    assert split_zero_lines([zeros, others]) == ([others], [zeros])
