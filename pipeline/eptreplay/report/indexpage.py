"""What stands on the first page of a run: guests times profiles, the worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eptreplay.report.measures import cells
from eptreplay.report.numbers import count, percent, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eptreplay.report.answers import Standing
    from eptreplay.report.run import Run


def index_page(run: Run, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return all that the template of the index needs.

    Args:
        run: the run.
        lines: what every guest's page said of itself, in the order of the run.
    """
    ordered = sorted(lines, key=_worst, reverse=True)
    return {
        "headline": _headline(run, ordered),
        "rows": [_row(line) for line in ordered],
        "answers": [
            {
                "name": line["guest"].name,
                "link": f"guests/{line['guest'].slug}.html",
                "items": line["answers"],
            }
            for line in ordered
        ],
    }


def _worst(line: dict[str, Any]) -> float:
    """Return the highest estimated share (or cost) of a guest: what the order is by."""
    found: list[Standing] = line["found"]
    return max((at.share if at.share is not None else at.seconds) for at in found)


def _headline(run: Run, ordered: Sequence[dict[str, Any]]) -> str:
    """Return what was replayed and who fared worst."""
    text = f"{count(len(ordered), 'guest')} under {count(len(run.profiles), 'profile')}."
    if not ordered:
        return text
    line = ordered[0]
    worst = max(line["found"], key=lambda at: at.seconds)
    share = percent(worst.share, 1) + " of run time" if worst.share is not None else seconds(worst.seconds)
    return f"{text} The costliest: {line['guest'].name} under {worst.profile}, an estimated {share}."


def _row(line: dict[str, Any]) -> dict[str, Any]:
    """Return a guest's row: cost, exits and IPIs, a cell a profile."""
    found = line["found"]
    guest = line["guest"]
    timed = all(at.share is not None for at in found)
    costs = [(at.share or 0.0) if timed else at.seconds for at in found]
    return {
        "name": guest.name,
        "link": f"guests/{guest.slug}.html",
        "blocks": [
            ("cost", cells(costs, [percent(cost, 1) if timed else seconds(cost) for cost in costs])),
            ("exits", cells([at.exits for at in found], [f"{at.exits:,}" for at in found])),
            ("IPIs", cells([at.ipis for at in found], [f"{at.ipis:,}" for at in found])),
        ],
    }
