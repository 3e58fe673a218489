"""Operator rates: operators that pay off are used more often."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.evolution.operator_rates import OperatorRates

CREDITS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=60)


@given(CREDITS)
def test_weights_are_positive_and_sum_to_one(given_credits: list[tuple[str, float]]) -> None:
    rates = OperatorRates({"a": 1.0, "b": 2.0, "c": 0.3})
    for name, gain in given_credits:
        rates.credit(name, gain)
    weights = rates.current()
    assert sum(weights.values()) == pytest.approx(1.0)
    assert min(weights.values()) > 0.0


def test_before_anything_is_known_the_weights_are_the_priors() -> None:
    assert OperatorRates({"a": 1.0, "b": 3.0}).current() == pytest.approx({"a": 0.25, "b": 0.75})


def test_an_operator_that_pays_off_is_used_more_often() -> None:
    rates = OperatorRates({"a": 1.0, "b": 1.0})
    for _ in range(40):
        rates.credit("a", 1.0)
        rates.credit("b", 0.0)
    assert rates.current()["a"] > 0.75
    assert rates.current()["b"] > 0.0


def test_a_few_lucky_uses_change_little() -> None:
    rates = OperatorRates({"a": 1.0, "b": 1.0})
    rates.credit("a", 1.0)
    assert rates.current()["a"] < 0.7


def test_old_success_is_forgotten() -> None:
    rates = OperatorRates({"a": 1.0, "b": 1.0}, memory=20.0)
    for _ in range(50):
        rates.credit("a", 1.0)
        rates.credit("b", 0.0)
    for _ in range(100):
        rates.credit("a", 0.0)
        rates.credit("b", 1.0)
    assert rates.current()["b"] > 0.7


def test_unknown_operators_are_ignored() -> None:
    rates = OperatorRates({"a": 1.0})
    rates.credit("random", 1.0)
    assert rates.current() == {"a": 1.0}
