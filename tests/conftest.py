"""What all tests share: where helpers are found, and how hypothesis runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Helpers are imported by their path from the repository's root: `from tests.model.harness import Host`.
sys.path.insert(0, str(Path(__file__).parents[1]))
pytest.register_assert_rewrite("tests.model")

# The first example of a test may compile kernels, which takes seconds.
settings.register_profile(
    "eptreplay", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("eptreplay")
