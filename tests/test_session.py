"""Sessions: rounds are held in the order in which they were put down, and when makes no difference."""

from __future__ import annotations

import numpy as np
import pytest

from menndl_dask.individual import Individual
from menndl_dask.litter import Litter, Operators
from menndl_dask.population import Member
from menndl_dask.result import Result
from menndl_dask.session import Session
from tests.test_contest import SLOTS, merit, taught, terms


def session(rounds: int = 3) -> Session:
    """Return a session with so many rounds, for the networks from the hundredth on."""
    operators, outlook = Operators(SLOTS), taught(SLOTS)
    rng = np.random.default_rng(3)
    individuals = [Individual(number, SLOTS.sample(rng)) for number in range(8)]
    members = [Member(i, Result(merit(i.genome)), (merit(i.genome),)) for i in individuals]
    weights = terms(SLOTS, outlook).weights
    found = Session(100, SLOTS, operators, 1)
    for number in range(100, 100 + rounds):
        litter = Litter(operators, members, weights, 3, 4, (1, number))
        found.put_down(number, terms(SLOTS, outlook, number), [litter])
    return found


@pytest.mark.parametrize("parts", [1, 2, 5, 99])
def test_what_is_held_ahead_changes_nothing(parts: int) -> None:
    whole, ahead = session(), session()
    outlook = taught(SLOTS)
    for _ in range(parts):
        if not ahead.hold():
            break
    first = whole.winner(103, terms(SLOTS, outlook, 103), (), late=False)
    second = ahead.winner(103, terms(SLOTS, outlook, 103), (), late=False)
    assert first is not None and second is not None
    assert first[1].key == second[1].key
    assert first[0].parents == second[0].parents
    assert not whole.hold() and not ahead.hold()


def test_the_round_of_a_network_is_held_after_it_where_that_is_wanted() -> None:
    at_once, late = session(2), session(2)
    for each in (at_once, late):
        assert each.winner(101, terms(SLOTS, taught(SLOTS), 101), (), late=each is late) is not None
    assert not at_once.hold()
    assert late.hold()


def test_the_first_round_is_held_in_any_case_since_nobody_competes_before() -> None:
    begun = session(1)
    assert begun.winner(100, terms(SLOTS, taught(SLOTS), 100), (), late=True) is not None
    assert not begun.hold()
    assert begun.breeders == set(range(8))
