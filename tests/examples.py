"""How many examples a test with hypothesis gets."""

from __future__ import annotations

from hypothesis import settings


def examples(number: int) -> settings:
    """Give a test fewer (or more) examples than the usual 100; under `make fuzz` it gets its share of those there."""
    return settings(max_examples=max(1, number * settings.default.max_examples // 100))
