"""The trainings of the benchmarks' scripts are for continuous integration: they hold scripts, not the package."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the trainings, without a word in each run of the tests."""
    trainings = [item for item in items if item.get_closest_marker("trainings") is not None]
    if trainings and not os.environ.get("CI"):
        config.hook.pytest_deselected(items=trainings)
        items[:] = [item for item in items if item not in trainings]
