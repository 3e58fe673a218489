"""Domains: what they draw, hold, step to, repair and measure."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.domain import Choice, Domain, Integer, PerAxis, Real, compact, spread, with_rank

SEEDS = st.integers(0, 2**32 - 1)
DOMAINS: tuple[Domain, ...] = (
    Choice(("relu", "elu", "tanh")),
    Choice((True, False)),
    Choice((8, 16, 32, 64)),
    Choice((0.0, 1e-5, 1e-4)),
    Choice(("only",)),
    Integer(1, 50),
    Integer(-3, 3),
    Integer(4, 256, log=True),
    Integer(7, 7),
    Real(0.0, 0.7),
    Real(1e-5, 1e-1, log=True),
    Real(2.0, 2.0),
    PerAxis(Choice((1, 3, 5)), 1),
    PerAxis(Choice((1, 3, 5)), 2),
    PerAxis(Integer(1, 9), 3),
)
ANY_DOMAIN = st.sampled_from(DOMAINS)
ANYTHING = st.one_of(
    st.none(), st.text(max_size=3), st.booleans(), st.integers(-(10**6), 10**6), st.floats(),
    st.tuples(st.integers(-9, 99)), st.lists(st.integers(0, 9), max_size=4),
)  # fmt: skip


@given(ANY_DOMAIN, SEEDS)
def test_what_is_drawn_belongs_to_the_domain_and_is_a_plain_value(domain: Domain, seed: int) -> None:
    value = domain.sample(np.random.default_rng(seed))
    assert domain.contains(value)
    assert domain.accepts(value)
    assert domain.nearest(value) == value
    json.dumps(value)  # a NumPy number would not go


@given(ANY_DOMAIN, SEEDS)
def test_a_step_stays_in_the_domain_and_goes_somewhere_else(domain: Domain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = domain.sample(rng)
    stepped = domain.step(value, rng)
    assert domain.contains(stepped)
    if domain.size > 1 and not math.isinf(domain.size) and not isinstance(domain, PerAxis):
        assert stepped != value
    json.dumps(stepped)


@given(ANY_DOMAIN, ANYTHING, SEEDS)
def test_anything_is_repaired_to_a_value_of_the_domain(domain: Domain, anything: object, seed: int) -> None:
    repaired = domain.nearest(anything)
    assert domain.contains(repaired)
    assert domain.nearest(repaired) == repaired
    if domain.accepts(anything):  # a step from a value outside leads into the domain
        assert domain.contains(domain.step(anything, np.random.default_rng(seed)))


@given(ANY_DOMAIN, SEEDS)
def test_distances_are_those_of_a_metric_between_zero_and_one(domain: Domain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = domain.sample(rng), domain.sample(rng)
    distance = domain.distance(first, second)
    assert 0 <= distance <= 1
    assert distance == domain.distance(second, first)
    assert (distance == 0) == (first == second)


@given(ANY_DOMAIN, SEEDS)
def test_the_same_generator_draws_the_same(domain: Domain, seed: int) -> None:
    first, second = (np.random.default_rng(seed) for _ in range(2))
    value = domain.sample(first)
    assert value == domain.sample(second)
    assert domain.step(value, first) == domain.step(value, second)


def test_every_value_of_a_finite_domain_is_reached_by_small_steps() -> None:
    rng = np.random.default_rng(0)
    for domain in (Choice(("a", "b", "c")), Choice((1, 2, 4, 8)), Integer(1, 12), PerAxis(Choice((1, 3)), 2)):
        value = domain.sample(rng)
        seen = set()
        for _ in range(500):
            value = domain.step(value, rng)
            seen.add(value)
        assert len(seen) == domain.size


def test_a_logarithmic_domain_draws_evenly_in_ratio() -> None:
    rng = np.random.default_rng(0)
    for domain in (Integer(1, 1023, log=True), Real(1e-4, 1e4, log=True)):
        drawn = [domain.sample(rng) for _ in range(2000)]
        middle = math.sqrt(domain.low * (domain.high + isinstance(domain, Integer)))
        assert sum(value < middle for value in drawn) / len(drawn) == pytest.approx(0.5, abs=0.04)


def test_ordered_choices_step_to_a_neighbour_and_others_to_any() -> None:
    rng = np.random.default_rng(0)
    ordered, named = Choice((8, 16, 32, 64, 128)), Choice(("b", "a", "c"))
    assert {ordered.step(8, rng) for _ in range(60)} == {16, 32}
    assert {named.step("a", rng) for _ in range(60)} == {"b", "c"}
    assert ordered.nearest(50) == 64
    assert ordered.distance(8, 128) == 1.0
    assert not Choice((True, False)).ordered


def test_a_repaired_choice_is_written_as_it_was_declared() -> None:
    assert repr(Choice((8, 16)).nearest(8.0)) == "8"
    assert repr(Choice((0.0, 1e-4)).nearest(0)) == "0.0"


def test_real_values_keep_four_digits() -> None:
    assert Real(0.0, 1.0).nearest(0.123456) == 0.1235
    assert Real(0.0, 1.0).nearest(math.nan) == 0.0


def test_a_truth_value_is_no_number() -> None:
    assert not Integer(0, 5).contains(True)
    assert not Real(0.0, 5.0).contains(True)
    assert not Choice((1, 2)).accepts(True)
    assert Choice((True, False)).accepts(False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(()), "expected one or more different values"),
        (lambda: Choice((1, 1)), "expected one or more different values"),
        (lambda: Integer(3, 2), "expected low ≤ high"),
        (lambda: Integer(0, 2, log=True), "low ≥ 1 with log"),
        (lambda: Real(3.0, 2.0), "expected low ≤ high"),
        (lambda: Real(0.0, 2.0, log=True), "low > 0 with log"),
    ],
)
def test_a_domain_that_makes_no_sense_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


def test_a_tuple_of_one_value_holds_for_every_axis() -> None:
    assert compact((3, 3, 3)) == (3,)
    assert compact((3, 5)) == (3, 5)
    assert spread((3,), 3) == (3, 3, 3)
    with pytest.raises(ValueError, match="expected 1 or 3 values"):
        spread((3, 5), 3)
    square = PerAxis(Choice((1, 3, 5)), 2)
    assert square.contains((3,))
    assert square.contains((3, 5))
    assert not square.contains((3, 5, 1))
    assert square.nearest((3, 3)) == (3,)
    assert square.distance((1,), (1, 5)) == 0.5
    assert with_rank(square, 3).size == 27
    assert with_rank(Integer(1, 2), 3) == Integer(1, 2)
