"""Domains: what they draw, hold, step to, repair and measure."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from menndl_dask.genome.domain import Choice, Domain, Integer, PerAxis, Real, compact, spread, with_rank

SEEDS = st.integers(0, 2**32 - 1)
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-2, 2)
LARGEST = sys.float_info.max


def bounds(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    """Return two bounds, often equal and often so near that all between them round to the same number."""
    two = st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))
    near = numbers.map(lambda v: (v, math.nextafter(v, LARGEST)) if isinstance(v, float) else (v, v))
    return two | near | numbers.map(lambda v: (v, v))


def choices(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Domain]:
    return st.lists(values, min_size=1, max_size=6, unique=True).map(tuple).map(Choice)


INTEGER_DOMAINS = st.one_of(
    bounds(INTEGERS).map(lambda b: Integer(*b)),
    bounds(INTEGERS.map(lambda v: min(abs(v) + 1, 2**63 - 1))).map(lambda b: Integer(*b, log=True)),
)
CHOICES = st.one_of(
    st.sampled_from([("relu", "elu", "tanh"), (True, False), (8, 16, 32, 64), (0.0, 1e-5), ("only",)]).map(Choice),
    choices(st.text(max_size=3)),
    choices(st.integers()),
    choices(FLOATS).map(lambda domain: Choice(tuple(sorted(domain.values)))),
    choices(st.tuples(st.integers(0, 3))),
    choices(st.none() | st.text(max_size=1)),
)
REALS = st.one_of(
    bounds(FLOATS).filter(lambda b: b[1] - b[0] <= LARGEST).map(lambda b: Real(*b)),
    bounds(FLOATS.map(abs).filter(bool)).map(lambda b: Real(*b, log=True)),
)
DOMAINS = CHOICES | INTEGER_DOMAINS | REALS | st.builds(PerAxis, CHOICES | INTEGER_DOMAINS, st.integers(1, 3))

SCALARS = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(max_size=3), st.none(), st.integers(-20, 20),
    st.sampled_from([10**400, -(10**400), math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324, LARGEST, 1j]),
    st.integers(-128, 127).map(np.int8), st.integers(0, 2**64 - 1).map(np.uint64), st.booleans().map(np.bool_),
    st.floats(width=16).map(np.float16), st.floats(width=32).map(np.float32), st.floats().map(np.float64),
    st.floats().map(np.longdouble), st.text(max_size=3).map(np.str_),
)  # fmt: skip
ANYTHING = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=4), st.lists(SCALARS, max_size=4).map(tuple), st.dictionaries(SCALARS, SCALARS),
    st.lists(st.floats(), max_size=3).map(np.array), st.builds(object),
)  # fmt: skip


def is_plain(value: object) -> bool:
    """Tell whether JSON gives the value back; NumPy's numbers do not go, or not all."""
    parts = value if isinstance(value, tuple) else (value,)
    return all(type(v) in (int, float, str, bool, tuple, type(None)) for v in parts) and json.dumps(value) != ""


@given(DOMAINS, SEEDS)
def test_what_is_drawn_belongs_to_the_domain_and_is_a_plain_value(domain: Domain, seed: int) -> None:
    value = domain.sample(np.random.default_rng(seed))
    assert domain.contains(value)
    assert domain.accepts(value)
    assert domain.nearest(value) == value
    assert is_plain(value)


@given(DOMAINS, SEEDS)
def test_a_step_stays_in_the_domain_and_goes_somewhere_else(domain: Domain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = domain.sample(rng)
    stepped = domain.step(value, rng)
    assert domain.contains(stepped)
    assert (stepped != value) == (domain.size > 1)
    assert is_plain(stepped)


@given(DOMAINS, ANYTHING, SEEDS)
def test_anything_is_repaired_to_a_value_of_the_domain(domain: Domain, anything: object, seed: int) -> None:
    assert domain.accepts(anything) or not domain.contains(anything)
    for repaired in (domain.nearest(anything), domain.step(anything, np.random.default_rng(seed))):
        assert domain.contains(repaired)
        assert domain.nearest(repaired) == repaired
        assert is_plain(repaired)
    if domain.contains(anything) and domain.size > 1:
        plain = anything.item() if isinstance(anything, np.generic) else anything
        assert domain.step(anything, np.random.default_rng(seed)) != plain


@given(DOMAINS, SEEDS)
def test_distances_are_those_of_a_metric_between_zero_and_one(domain: Domain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = domain.sample(rng), domain.sample(rng)
    distance = domain.distance(first, second)
    assert 0 <= distance <= 1
    assert distance == domain.distance(second, first)
    assert distance == 0 or first != second
    assert domain.distance(first, first) == 0


@given(DOMAINS, ANYTHING, ANYTHING)
def test_what_is_outside_is_as_far_as_the_nearest_value(domain: Domain, first: object, second: object) -> None:
    distance = domain.distance(first, second)
    assert 0 <= distance <= 1
    if not domain.contains(first) and not domain.contains(second):
        assert distance == domain.distance(domain.nearest(first), domain.nearest(second))


@given(DOMAINS, SEEDS)
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
    assert repr(Choice((-65520.0, 0.0)).nearest(np.float16(0))) == "0.0"  # NumPy cannot compare it with the other


def test_real_values_keep_four_digits() -> None:
    assert Real(0.0, 1.0).nearest(0.123456) == 0.1235
    assert Real(0.0, 1.0).nearest(math.nan) == 0.0


def test_numbers_beyond_the_bounds_become_the_nearest_bound() -> None:
    for domain in (Choice((1, 2, 4)), Integer(1, 4), Real(1.0, 4.0), Integer(1, 4, log=True), Real(1.0, 4.0, log=True)):
        for beyond in (math.inf, 10**400, 1e300, np.float16(5)):
            assert domain.nearest(beyond) == 4
            assert domain.nearest(-beyond) == 1
        assert domain.nearest(math.nan) == 1
        assert domain.nearest(None) == domain.nearest("4") == 1


def test_distances_of_different_numbers_are_the_share_of_the_range() -> None:
    for domain in (Integer(1, 5), Real(1.0, 5.0), Choice((1, 2, 3, 4, 5))):
        assert domain.distance(2, 4) == 0.5
    for domain in (Integer(1, 16, log=True), Real(1.0, 16.0, log=True)):
        assert domain.distance(2, 8) == 0.5
    assert Real(0.0, 1.0).distance(-5, math.inf) == 1


def test_a_step_goes_somewhere_else_also_where_all_rounds_to_one_number() -> None:
    """The bounds of a range that is narrower than four digits are values too."""
    for domain in (Real(1.00001, 1.00002), Real(1.00001, 1.00002, log=True), Real(1e300, math.nextafter(1e300, 2e300))):
        assert domain.step(domain.low, np.random.default_rng(0)) == domain.high
        assert domain.step(domain.high, np.random.default_rng(0)) == domain.low


def test_bounds_and_choices_from_numpy_are_kept_as_plain_values() -> None:
    assert is_plain(Choice(tuple(np.arange(3))).values)
    assert is_plain(Integer(np.int8(1), np.int64(9)).high)  # type: ignore[arg-type]
    assert is_plain(Real(np.float32(1), 2).low)


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
        (lambda: Choice((1.0, math.inf)), "expected finite numbers"),
        (lambda: Choice((1, 10**400)), "expected finite numbers"),
        (lambda: Integer(3, 2), "expected low ≤ high"),
        (lambda: Integer(0, 2**63), "64 bits"),
        (lambda: Integer(0.0, 2.0), "64 bits"),  # type: ignore[arg-type]
        (lambda: Integer(0, 2, log=True), "low ≥ 1 with log"),
        (lambda: Real(3.0, 2.0), "expected low ≤ high"),
        (lambda: Real(0.0, math.inf), "a finite distance apart"),
        (lambda: Real(math.nan, 1.0), "a finite distance apart"),
        (lambda: Real(-1.7e308, 1.7e308), "a finite distance apart"),
        (lambda: Real(0, 10**400), "a finite distance apart"),
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
