"""The long tests of this folder run in `make faults` only."""

from __future__ import annotations

import pytest

from tests.faults.scene import LONG


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the long ones, without a word in each run of the tests."""
    long = [item for item in items if item.get_closest_marker("long") is not None]
    if long and not LONG:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
