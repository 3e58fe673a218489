"""Contests: who is evaluated next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from menndl_dask.contest import Contest, Terms
from menndl_dask.genome import Genome
from menndl_dask.individual import Individual
from menndl_dask.litter import Child, Operators, points
from menndl_dask.outlook import Entry, Outlook, Seen
from menndl_dask.population import Floats
from menndl_dask.screening import Screening
from menndl_dask.space import SearchSpace
from tests.spaces import SPACES, Edge

SLOTS = SearchSpace.slots([Edge] * 10)


def merit(genome: Genome) -> float:
    return float(sum(gene == Edge("skip") for gene in genome.genes))


def taught(space: SearchSpace, number: int = 60) -> Outlook:
    rng = np.random.default_rng(1)
    screening = Screening(space)
    for _ in range(number):
        genome = space.sample(rng)
        screening.tell(Entry(genome, (merit(genome) if space is SLOTS else float(len(genome)),)))
        screening.renew()
    assert screening.outlook is not None
    return screening.outlook


def children(space: SearchSpace, number: int = 8) -> list[Child]:
    rng = np.random.default_rng(2)
    parents = [Individual(i, space.sample(rng)) for i in range(number)]
    return [Child(parent.genome, (parent,), "step", (i,)) for i, parent in enumerate(parents)]


def terms(space: SearchSpace, outlook: Outlook, seed: int = 0, pending: tuple[Genome, ...] = ()) -> Terms:
    priors = Operators(space).priors
    weights = {name: weight / sum(priors.values()) for name, weight in priors.items()}
    return Terms(outlook, weights, pending, (seed, 3))


def contest(space: SearchSpace, outlook: Outlook, seed: int = 0, pending: tuple[Genome, ...] = ()) -> Contest:
    return Contest(space, Operators(space), 1, terms(space, outlook, seed, pending))


def entered(space: SearchSpace, outlook: Outlook, seed: int = 0) -> Contest:
    competing = contest(space, outlook, seed)
    given = children(space)
    competing.enter(given, points(given, outlook.describe))
    return competing


def evolve(competing: Contest) -> int:
    """Let children breed on; return for how many generations."""
    return max(competing.evolve(), default=0)


def test_children_of_promising_children_are_better_than_those_that_were_bred_from_what_is_known() -> None:
    outlook = taught(SLOTS)
    near, far = [], []
    for seed in range(20):
        competing = entered(SLOTS, outlook, seed)
        won = competing.winner(())
        competing.breed(12, 3)
        competing.breed(12, 3)
        further = competing.winner(())
        assert won is not None and further is not None
        near.append(merit(won[1]))
        far.append(merit(further[1]))
    assert np.mean(far) > np.mean(near) + 1


def test_children_breed_until_they_promise_no_more_which_finds_the_best_that_the_surrogate_can_see() -> None:
    outlook = taught(SLOTS)
    shallow, deep = [], []
    for seed in range(20):
        competing = entered(SLOTS, outlook, seed)
        competing.breed(8, 4)
        competing.breed(8, 4)
        won = competing.winner(())
        assert won is not None
        shallow.append(merit(won[1]))
        evolved = entered(SLOTS, outlook, seed)
        evolve(evolved)
        won = evolved.winner(())
        assert won is not None
        deep.append(merit(won[1]))
    assert np.mean(deep) > np.mean(shallow) + 1


def evolved(space: SearchSpace, *, flat: bool, results: int = 60, rounds: int = 1) -> int:
    """Return how often children were looked at while they bred on in the last round."""
    outlook = taught(space, results)
    competing = entered(space, outlook)
    for _ in range(rounds):
        watched = Watched(outlook, flat=flat)
        competing.begin(terms(space, cast(Outlook, watched)))
        evolve(competing)
    return watched.looks


def test_breeding_ends_after_three_generations_that_promise_no_more() -> None:
    assert evolved(SLOTS, flat=True) == 3
    assert evolved(SLOTS, flat=False) > 3


def test_one_generation_in_vain_is_enough_when_much_is_known() -> None:
    assert evolved(SLOTS, flat=True, results=300) == 3
    assert evolved(SLOTS, flat=True, results=330) == 1


def test_one_generation_in_vain_is_enough_after_the_first_round() -> None:
    assert evolved(SLOTS, flat=True, rounds=2) == 1


def test_networks_that_must_be_mended_breed_in_bounded_numbers() -> None:
    assert 2 <= evolved(SPACES["classes of images"], flat=False) <= 8


class Watched:
    """An outlook that counts how often children are looked at, and to which all may promise the same."""

    def __init__(self, outlook: Outlook, *, flat: bool) -> None:
        self._outlook, self._flat, self.looks = outlook, flat, 0

    def look(self, points: Floats, before: Seen | None = None) -> Seen:
        found = self._outlook.look(points, before)
        self.looks += found is not before
        return found

    def promise(self, seen: Seen, *others: Any) -> Floats:
        return np.zeros(len(seen.points)) if self._flat else self._outlook.promise(seen, *others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outlook, name)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_winner_is_in_the_space_and_descends_from_individuals_that_were_evaluated(name: str) -> None:
    space = SPACES[name]
    competing = entered(space, taught(space))
    competing.breed(6, 4)
    won = competing.winner(())
    assert won is not None
    child, genome = won
    assert space.contains(genome)
    assert {parent.id for parent in child.parents} <= set(range(8))
    assert 1 <= len(child.parents) <= 2


def test_what_is_known_does_not_win() -> None:
    outlook = taught(SLOTS)
    first = entered(SLOTS, outlook).winner(())
    assert first is not None
    second = entered(SLOTS, outlook).winner({first[1].key})
    assert second is not None and second[1].key != first[1].key
    assert entered(SLOTS, outlook).winner({child.bred.key for child in children(SLOTS)}) is None


def test_the_same_seed_has_the_same_winner_whoever_looked_before() -> None:
    space = SPACES["a sequence"]
    fresh, used = taught(space), taught(space)
    used.look(points(children(space)[:3], used.describe))
    keys = []
    for outlook in (fresh, used):
        competing = entered(space, outlook, 7)
        competing.breed(6, 4)
        won = competing.winner(())
        assert won is not None
        keys.append(won[1].key)
    assert keys[0] == keys[1]


def test_of_children_of_whom_as_much_is_expected_one_far_from_what_is_evaluated_wins_more_often() -> None:
    # all results are the same: only how much there is left to learn tells the two apart
    screening = Screening(SLOTS)
    rng = np.random.default_rng(4)
    for genome in [SLOTS.sample(rng) for _ in range(12)]:
        screening.tell(Entry(genome, (0.0,)))
    outlook = screening.outlook
    assert outlook is not None
    here, there = Genome((Edge("skip"),) * 10), Genome((Edge("pool"),) * 10)
    given = [Child(g, (Individual(i, g),), "step", (i,)) for i, g in enumerate((here, there))]

    def wins(pending: tuple[Genome, ...]) -> int:
        found = 0
        for seed in range(40):
            competing = contest(SLOTS, outlook, seed, pending)
            competing.enter(given, points(given, outlook.describe))
            won = competing.winner(())
            found += won is not None and won[1].key == there.key
        return found

    assert wins((Genome((Edge("skip"),) * 9 + (Edge("pool"),)),)) > wins(())


def test_what_was_bred_in_one_round_competes_in_the_next_as_it_is_judged_by_then() -> None:
    competing = entered(SLOTS, taught(SLOTS))
    evolve(competing)
    best = competing.winner(())
    assert best is not None
    later = taught(SLOTS, 120)
    competing.begin(terms(SLOTS, later, 5))
    again = competing.winner(())
    assert again is not None and merit(again[1]) >= merit(best[1]) - 1
    assert (competing._promise == competing._promised(later.look(competing._seen[0].points))).all()


@pytest.mark.parametrize("more", [False, True])
def test_a_round_that_was_prepared_is_the_round_that_would_be_held(more: bool) -> None:
    promised = []
    for prepared in (False, True):
        outlook, later = taught(SLOTS), Watched(taught(SLOTS, 120), flat=False)
        competing = entered(SLOTS, outlook)
        coming = cast(Outlook, later)
        if prepared:
            assert competing.prepare(coming) and not competing.prepare(coming)
        if more:
            competing.breed(4, 2)
        looks = later.looks
        competing.begin(terms(SLOTS, coming, 5))
        assert later.looks - looks == (0 if prepared and not more else 1)
        promised.append(competing._promise)
    assert (promised[0] == promised[1]).all()


def test_a_contest_without_children_has_nothing_to_prepare() -> None:
    assert not contest(SLOTS, taught(SLOTS)).prepare(taught(SLOTS, 120))


def test_a_round_in_which_no_child_enters_can_be_passed_over() -> None:
    keys = []
    for passed in (False, True):
        outlook = taught(SLOTS)
        competing = entered(SLOTS, outlook)
        evolve(competing)
        if not passed:
            competing.begin(replace(competing.terms, pending=(Genome((Edge("skip"),) * 10),), seed=(1, 3)))
        competing.begin(terms(SLOTS, taught(SLOTS, 61), 2))
        evolve(competing)
        won = competing.winner(())
        assert won is not None
        keys.append(won[1].key)
    assert keys[0] == keys[1]
