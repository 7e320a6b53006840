"""Unit tests look at files on a disk."""

from __future__ import annotations

import pytest


@pytest.fixture
def backend() -> str:
    """The embedded one."""
    return "embedded"
