"""The machine of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.tools import Tools


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Return a machine without GPUs, to which a test adds some."""
    return Tools(tmp_path, monkeypatch)
