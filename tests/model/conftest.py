from __future__ import annotations

from tests.model.harness import Kind


def pytest_make_parametrize_id(val: object) -> str | None:
    """Call a kind of pmap by its name."""
    return val.name if isinstance(val, Kind) else None
