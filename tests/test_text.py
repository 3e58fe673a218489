"""Text for people: short numbers, durations, fitness values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.text import duration, fitness_text, metric_title, milliseconds, quantity, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (quantity(0), "0"), (quantity(999), "999"), (quantity(1000), "1.00 k"), (quantity(-2_500_000), "-2.50 M"),
        (quantity(3.2e12), "3.20 T"), (quantity(99_960), "100 k"), (size(0), "0 B"), (size(1536), "1.50 KiB"),
        (size(5 * 2**30), "5.00 GiB"), (duration(0), "0.0 s"), (duration(59.96), "1 min"), (duration(3600), "1 h"),
        (duration(3599.7), "1 h"), (duration(90_000), "1 d 1 h"), (duration(math.inf), "–"),
        (milliseconds(12.345), "12.3 ms"), (fitness_text(math.nan), "–"), (metric_title("r2"), "R²"),
        (metric_title("my_module:my_metric"), "my metric"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(text: str, expected: str) -> None:
    assert text == expected


@given(st.floats(1e-3, 1e15))
def test_a_short_number_is_within_half_a_per_cent_of_the_true_one(value: float) -> None:
    number, _, prefix = quantity(value).partition(" ")
    scale = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}[prefix]
    assert float(number) * scale == pytest.approx(value, rel=0.006)
