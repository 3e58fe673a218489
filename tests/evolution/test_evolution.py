"""Evolution: what it asks for, and what it learns from what it is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController, threadpool_limits

from menndl_dask.errors import UserError
from menndl_dask.evolution.evolution import Evolution, SpaceExhausted
from menndl_dask.evolution.surrogate.acquisition import Floats, Prediction, SurrogateModel
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution, FullyConnected
from menndl_dask.genome.training_gene import Training
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace
from tests.examples import examples
from tests.spaces import SPACES, Edge, Step, toy_result

SEEDS = st.integers(0, 2**32 - 1)
NAMES = st.sampled_from(sorted(SPACES))


def driven(evolution: Evolution, evaluations: int, workers: int, seed: int = 0) -> list[Individual]:
    """Ask and tell with so many in flight, results coming home in a random order; return all that was asked."""
    rng = np.random.default_rng(seed)
    asked: list[Individual] = []
    flying: list[Individual] = []
    while len(asked) < evaluations or flying:
        while len(flying) < workers and len(asked) < evaluations:
            individual = evolution.ask()
            asked.append(individual)
            flying.append(individual)
        home = flying.pop(int(rng.integers(len(flying))))
        evolution.tell(home, toy_result(home))
    return asked


def fingerprint(asked: list[Individual]) -> list[tuple[int, str, tuple[int, ...], str]]:
    return [(i.id, i.genome.key, i.parents, i.origin) for i in asked]


@examples(15)
@given(SEEDS, NAMES.filter(lambda name: "slot" not in name), st.sampled_from([1, 4, 16]))
def test_everything_asked_is_in_the_space_numbered_and_asked_once(seed: int, name: str, workers: int) -> None:
    asked = driven(Evolution(SPACES[name], seed=seed, random=8), 20, workers, seed)
    assert [i.id for i in asked] == list(range(20))
    assert len({i.genome.key for i in asked}) == 20
    assert all(SPACES[name].violation(i.genome) is None for i in asked)


@examples(10)
@given(SEEDS, NAMES.filter(lambda name: name != "slots"))
def test_a_failed_evaluation_never_becomes_a_parent(seed: int, name: str) -> None:
    asked = driven(Evolution(SPACES[name], seed=seed, random=10), 30, 4, seed)
    failed = {i.id for i in asked if not toy_result(i).succeeded}
    assert not failed & {parent for i in asked for parent in i.parents}
    assert {parent for i in asked for parent in i.parents}


def test_a_network_that_was_stopped_at_a_rung_is_no_parent_and_counts_as_viable_and_low() -> None:
    evolution = Evolution(SPACES["a sequence"], seed=1, random=10)
    stopped = set()
    for number in range(60):
        individual = evolution.ask()
        result = toy_result(individual)
        if number % 2 and result.succeeded:
            stopped.add(individual.id)
            result = Result.failed("pruned", metrics={"fitness": (result.fitness or 0.0) - 100})
        evolution.tell(individual, result)
        assert not stopped & set(individual.parents)
    assert evolution.best()[0].id not in stopped
    assert evolution.training_set is not None
    low = [o.values for o in evolution.training_set.observations if o.values and o.values[0] < -50]
    assert len(low) == len(stopped) > 10
    evolution = Evolution(SPACES["a sequence"], objectives=("fitness", "latency_ms"))
    evolution.tell(evolution.ask(), Result.failed("pruned", metrics={"fitness": 0.1}))  # nothing is known of its cost
    assert evolution.training_set is not None
    assert not evolution.training_set.observations


@pytest.mark.parametrize("name", ["slots", "a sequence after a prefix", "classes of images"])
def test_the_same_seed_and_order_of_results_give_the_same_offspring(name: str) -> None:
    runs = [fingerprint(driven(Evolution(SPACES[name], seed=3, random=10), 30, 4)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert {origin for *_, origin in runs[0]} > {"random"}
    assert runs[0] != fingerprint(driven(Evolution(SPACES[name], seed=4, random=10), 30, 4))


def test_another_process_with_another_hash_seed_breeds_the_same_offspring() -> None:
    here = fingerprint(driven(Evolution(SPACES["a sequence"], seed=5), 60, 4))
    script = (
        "from tests.evolution.test_evolution import *\n"
        "print(fingerprint(driven(Evolution(SPACES['a sequence'], seed=5), 60, 4)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONHASHSEED": "77"}
    there = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    assert there.stdout.strip() == repr(here)


Journal = list[tuple[str, Individual, Result | None]]


@cache
def journal_of(name: str) -> tuple[Evolution, Journal, dict[int, int]]:
    """Return a search with five in flight, its journal, and how long that was before each result came home."""
    first, journal = Evolution(SPACES[name], seed=2, random=10), Journal()
    rng = np.random.default_rng(0)
    flying: list[Individual] = []
    lengths = {}
    for turn in range(30):
        while len(flying) < 5:
            flying.append(first.ask())
            journal.append(("asked", flying[-1], None))
        lengths[turn] = len(journal)
        home = flying.pop(int(rng.integers(5)))
        first.tell(home, toy_result(home))
        journal.append(("told", home, toy_result(home)))
    return first, journal, lengths


@pytest.mark.parametrize("name", ["slots", "a sequence", "pixels of images"])
@pytest.mark.parametrize("stop", [0, 1, 9, 25])
def test_a_replayed_journal_carries_on_with_the_same_offspring(name: str, stop: int) -> None:
    first, journal, lengths = journal_of(name)
    second, after = Evolution(SPACES[name], seed=2, random=10), list[Individual]()
    for _, individual, result in journal[: lengths[stop]]:
        second.recall(individual) if result is None else second.tell(individual, result)
    for _, individual, result in journal[lengths[stop] :]:
        if result is None:
            after.append(second.ask())
            assert fingerprint(after[-1:]) == fingerprint([individual])
        else:
            second.tell(individual, result)
    assert after
    assert second.best()[0].id == first.best()[0].id


@pytest.mark.parametrize("name", ["slots", "pixels of images"])
@pytest.mark.parametrize("size", [1, 3, 12])
def test_a_journal_that_ends_with_networks_that_were_asked_for_together_carries_on_with_the_same(
    name: str, size: int
) -> None:
    first, second = (Evolution(SPACES[name], seed=2, random=10) for _ in range(2))
    for _ in range(3):  # several results at once, several networks at once
        asked = first.ask(12)
        for individual in asked:
            second.recall(individual)
        for individual in asked[:9]:
            for evolution in (first, second):
                evolution.tell(individual, toy_result(individual))
    for individual in first.ask(size):
        second.recall(individual)
    following = first.ask(5)
    assert {individual.origin for individual in following} - {"random"}
    assert fingerprint(second.ask(5)) == fingerprint(following)


@pytest.mark.parametrize("name", ["slots", "classes of images"])
def test_networks_of_one_ask_are_chosen_from_the_same_offspring_and_all_differ(name: str) -> None:
    evolution = Evolution(SPACES[name], seed=1, random=10)
    for individual in evolution.ask(40):
        evolution.tell(individual, toy_result(individual))
    bred: list[int] = []
    breed = evolution._breed
    evolution._breed = lambda rng: bred.append(evolution._next_id) or breed(rng)  # type: ignore[method-assign, func-returns-value]
    asked = evolution.ask(8)
    assert len({individual.genome.key for individual in asked}) == 8
    assert bred == [40]
    assert all(individual.parents for individual in asked)


def test_a_model_of_few_results_breeds_no_offspring_of_offspring() -> None:
    evolution = Evolution(SPACES["classes of images"], seed=1, random=10)
    counts: list[int] = []
    breed = evolution._variation.breed
    evolution._variation.breed = lambda *settings: counts.append(len(evolution._told)) or breed(*settings)  # type: ignore[method-assign, func-returns-value]
    for _ in range(40):
        individual = evolution.ask()
        evolution.tell(individual, toy_result(individual))
    times = Counter(counts)
    assert {times[known] for known in range(12, 25)} == {1}
    assert max(times[known] for known in range(25, 40)) > 1


def test_an_ask_for_more_networks_than_were_bred_breeds_again() -> None:
    evolution = Evolution(SPACES["slots"], seed=1, random=10, offspring=4)
    for individual in evolution.ask(40):
        evolution.tell(individual, toy_result(individual))
    asked = evolution.ask(40)
    assert len({individual.genome.key for individual in asked}) == 40
    assert all(individual.parents for individual in asked)


@pytest.mark.parametrize("name", ["slots", "classes of images"])
def test_a_run_is_resumed_from_wherever_it_stopped_as_it_would_have_gone_on(name: str) -> None:
    first = Evolution(SPACES[name], seed=5, random=8)
    others = [Evolution(SPACES[name], seed=5, random=8) for _ in range(12)]
    rng = np.random.default_rng(0)
    flying: list[Individual] = []
    for step in range(40):
        individual = first.ask()
        if 24 <= step < 36:
            assert fingerprint([others[step - 24].ask()]) == fingerprint([individual])
        for evolution in others[max(0, step - 23) :]:
            evolution.recall(individual)
        flying.append(individual)
        while len(flying) > int(rng.integers(1, 5)):
            home = flying.pop(int(rng.integers(len(flying))))
            for evolution in (first, *others[max(0, step - 23) :]):
                evolution.tell(home, toy_result(home))


def test_a_replay_computes_nothing_before_the_next_network_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    evolution, rng = Evolution(SPACES["slots"], seed=0), np.random.default_rng(0)

    def counted(self: SurrogateModel, succeeded: Sequence[object], *others: object) -> None:
        fitted.append(len(succeeded))
        fit(self, succeeded, *others)  # type: ignore[arg-type]

    fit = SurrogateModel.__init__
    monkeypatch.setattr(SurrogateModel, "__init__", counted)
    for number in range(400):
        individual = Individual(number, SPACES["slots"].sample(rng))
        evolution.recall(individual)
        evolution.tell(individual, toy_result(individual))
    assert not fitted
    evolution.ask()
    assert fitted == [320]


def test_linear_algebra_is_kept_to_one_thread_during_an_ask_only(monkeypatch: pytest.MonkeyPatch) -> None:
    evolution = Evolution(SPACES["slots"])
    for individual in evolution.ask(20):
        evolution.tell(individual, toy_result(individual))
    during: list[set[int]] = []

    def threads() -> set[int]:
        return {library["num_threads"] for library in ThreadpoolController().info()}

    def watched(self: SurrogateModel, points: Floats) -> Prediction:
        during.append(threads())
        return predict(self, points)

    predict = SurrogateModel.predict
    monkeypatch.setattr(SurrogateModel, "predict", watched)
    with threadpool_limits(limits=2):
        evolution.ask()
        assert threads() == {2}
    assert during and all(each == {1} for each in during)


@pytest.mark.parametrize("screen", [True, False])
def test_where_nearly_all_fail_the_only_success_breeds_at_once(screen: bool) -> None:
    space = SPACES["slots"]
    evolution = Evolution(space, seed=0, random=10, screen=screen)
    asked = evolution.ask(10)
    for individual in asked:
        evolution.tell(individual, Result(0.5) if individual.id == 4 else Result.failed("no_learning"))
    assert evolution.ask().parents == (4,)


def test_failures_are_learned_from_as_soon_as_there_are_two_successes() -> None:
    evolution = Evolution(SPACES["slots"], seed=0, random=8)
    for individual in evolution.ask(8):
        assert evolution.training_set is not None
        assert evolution.training_set.model() is None
        evolution.tell(individual, Result(0.1) if individual.id < 2 else Result.failed("no_learning"))
    assert evolution.training_set is not None
    assert evolution.training_set.model() is not None
    assert set(evolution.ask().parents) <= {0, 1}


def test_a_list_of_individuals_is_what_single_asks_give() -> None:
    one, many = Evolution(SPACES["slots"], seed=1), Evolution(SPACES["slots"], seed=1)
    assert fingerprint(many.ask(5)) == fingerprint([one.ask() for _ in range(5)])


def test_when_every_network_was_asked_for_the_space_is_exhausted() -> None:
    evolution = Evolution(SearchSpace.slots([Edge] * 2))
    asked = evolution.ask(20)
    for individual in asked:
        evolution.tell(individual, toy_result(individual))
    rest = evolution.ask(20)
    assert len({i.genome.key for i in (*asked, *rest)}) == 25
    assert len(rest) == 5  # a shorter list than wanted
    with pytest.raises(SpaceExhausted, match="all 25 networks"):
        evolution.ask()


def test_the_last_networks_of_a_constrained_space_are_found_and_then_it_is_exhausted() -> None:
    def few(genome: Genome) -> str | None:
        used = sum(getattr(g, "operation", "none") != "none" for g in genome.genes)
        return None if used <= 1 else "more than one operation"

    evolution = Evolution(SearchSpace.slots([Edge] * 4, constraints=[few]))
    keys = set()
    for _ in range(1 + 4 * 4):
        individual = evolution.ask()
        keys.add(individual.genome.key)
        evolution.tell(individual, toy_result(individual))
    assert len(keys) == 1 + 4 * 4
    with pytest.raises(SpaceExhausted):
        evolution.ask()


def test_the_first_population_is_diverse() -> None:
    slots = [i.genome.genes for i in Evolution(SPACES["slots"], seed=1).ask(20)]
    assert all(len({genes[place] for genes in slots}) == 5 for place in range(6))
    images = [i.genome for i in Evolution(SPACES["classes of images"], seed=1).ask(20)]
    assert len({len(genome) for genome in images}) >= 5
    assert len({type(g) for genome in images for g in genome.genes}) >= 6


def test_existing_networks_begin_the_search() -> None:
    networks = [Genome((Step(16), Step(32))), Genome((Step(8),) * 3)]
    evolution = Evolution(SPACES["a sequence"], initial=[*networks, networks[0]])
    asked = evolution.ask(3)
    assert [i.genome for i in asked[:2]] == networks
    assert [i.origin for i in asked] == ["seeded", "seeded", "random"]


@pytest.mark.parametrize(("fitness", "more"), [(0.8, True), (0.2, False)])
def test_random_networks_are_drawn_no_longer_than_the_initial_network_is_in_question(
    fitness: float, more: bool
) -> None:
    space = SPACES["slots"]
    evolution = Evolution(space, seed=0, initial=[space.sample(np.random.default_rng(3))], random=20)
    known, *random = evolution.ask(4)
    assert {one.origin for one in random} == {"random"} and known.origin == "seeded"
    evolution.tell(known, Result(0.5))
    assert evolution.ask().origin == "random"  # none is known to be worse
    evolution.tell(random[0], Result(fitness))
    asked = evolution.ask(3)
    assert [one.origin == "random" for one in asked] == [more] * 3
    evolution.tell(asked[0], Result(0.9))  # an offspring of the initial network that is better than it
    assert [one.origin == "random" for one in evolution.ask(3)] == [more] * 3


def test_an_existing_network_that_does_not_fit_is_brought_into_the_space() -> None:
    space = SPACES["images of two views"]
    evolution = Evolution(space, initial=[Genome((Convolution(20), FullyConnected(50)))])
    individual = evolution.ask()
    assert space.violation(individual.genome) is None
    assert isinstance(individual.genome.genes[0], Training)
    assert individual.origin == "seeded"


def test_a_search_that_is_carried_on_begins_with_no_other_networks() -> None:
    space = SPACES["classes of images"]
    given = [Genome(tuple(Convolution(8 + n) for n in range(space.maximum + 8))), Genome((Convolution(20),) * 3)]
    whole, first = (Evolution(space, seed=4, initial=given) for _ in range(2))
    asked = whole.ask(4)
    assert first.ask() == asked[0]
    again = Evolution(space, seed=4, initial=given)
    again.recall(asked[0])
    assert again.ask(3) == asked[1:]


def test_a_run_whose_every_network_fails_ends_with_a_diagnosis() -> None:
    evolution = Evolution(SPACES["a sequence"], seed=0)
    for number in range(60):
        individual = evolution.ask()
        evolution.tell(individual, Result.failed("diverged" if number % 3 else "no_learning", "made up"))
    said = evolution.diagnosis()
    assert said is not None
    assert "all 60 networks failed: 40 × diverged: made up; 20 × no_learning: made up" in said
    assert "look at the data first" in said
    with pytest.raises(UserError, match="all 60 networks failed"):
        evolution.best()
    assert evolution.front() == []


def test_one_success_is_no_reason_for_a_diagnosis() -> None:
    evolution = Evolution(SPACES["slots"])
    evolution.tell(evolution.ask(), Result.failed("killed"))
    evolution.tell(evolution.ask(), Result(0.5))
    assert evolution.diagnosis() is None
    assert evolution.best()[1].fitness == 0.5


def test_before_any_result_there_is_no_best_and_no_diagnosis() -> None:
    evolution = Evolution(SPACES["slots"])
    assert evolution.diagnosis() is None
    with pytest.raises(UserError, match="no network has been evaluated yet"):
        evolution.best()


def test_a_result_told_twice_counts_once() -> None:
    evolution = Evolution(SPACES["slots"])
    individual = evolution.ask()
    evolution.tell(individual, Result(0.5))
    evolution.tell(individual, Result(0.9))
    assert evolution.best()[1].fitness == 0.5
    assert len(evolution.population) == 1


def test_a_stranger_can_be_told() -> None:
    evolution = Evolution(SPACES["slots"])
    evolution.tell(Individual(7, Genome((Edge("conv3"),) * 6)), Result(0.7))
    assert evolution.best()[0].id == 7
    assert evolution.ask().id == 8


def test_a_hard_constraint_comes_before_fitness() -> None:
    evolution = Evolution(SPACES["slots"], constraints=["latency_ms <= 2"])
    first, second, third = evolution.ask(3)
    evolution.tell(first, Result(0.9, costs={"latency_ms": 3.0}))
    evolution.tell(second, Result(0.5, costs={"latency_ms": 1.0}))
    evolution.tell(third, Result(0.8))  # not measured: not known to be kept
    assert evolution.best()[0].id == second.id
    assert [i.id for i, _ in evolution.front()] == [second.id]


def test_the_front_holds_what_no_other_beats_in_all_objectives() -> None:
    evolution = Evolution(SPACES["slots"], objectives=["fitness", "parameters"])
    values = [(0.5, 10.0), (0.9, 100.0), (0.4, 50.0), (0.6, 20.0), (0.7, 20.0)]
    for individual, (fitness, parameters) in zip(evolution.ask(5), values, strict=True):
        evolution.tell(individual, Result(fitness, costs={"parameters": parameters}))
    assert [result.fitness for _, result in evolution.front()] == [0.9, 0.7, 0.5]
    assert evolution.best()[1].fitness == 0.9


def test_a_result_without_an_objective_counts_as_a_failure() -> None:
    evolution = Evolution(SPACES["slots"], objectives=["fitness", "latency_ms"])
    evolution.tell(evolution.ask(), Result(0.5))
    assert len(evolution.population) == 0
    assert "an objective is missing" in str(evolution.diagnosis())


def test_bad_objectives_and_constraints_are_refused_in_words() -> None:
    with pytest.raises(UserError, match="one or more different names"):
        Evolution(SPACES["slots"], objectives=[])
    with pytest.raises(UserError, match="expected NAME <= NUMBER or NAME >= NUMBER, got 'latency < two'"):
        Evolution(SPACES["slots"], constraints=["latency < two"])


def test_evolution_finds_better_networks_than_chance() -> None:
    space = SearchSpace.slots([Edge] * 12)

    def score(genome: Genome) -> float:
        return sum(1.0 for g in genome.genes if isinstance(g, Edge) and g.operation == "conv3")

    rng = np.random.default_rng(0)
    chance = max(score(space.sample(rng)) for _ in range(150))
    evolution = Evolution(space, seed=1)
    for _ in range(150):
        individual = evolution.ask()
        evolution.tell(individual, Result(score(individual.genome)))
    assert evolution.best()[1].fitness is not None
    assert evolution.best()[1].fitness > chance + 2


@pytest.mark.parametrize("name", ["slots", "classes of images"])
def test_with_two_objectives_the_front_grows_in_both(name: str) -> None:
    evolution = Evolution(SPACES[name], seed=1, objectives=["fitness", "parameters"])
    for _ in range(60):
        individual = evolution.ask()
        evolution.tell(individual, toy_result(individual))
    values = [(r.fitness, r.costs["parameters"]) for _, r in evolution.front()]
    assert len(values) >= 3
    assert values == sorted(values, key=lambda v: (-(v[0] or 0.0), -v[1]))


def test_a_search_without_screening_breeds_too() -> None:
    asked = driven(Evolution(SPACES["a sequence"], seed=1, screen=False), 60, 4)
    assert {"random"} < {i.origin for i in asked}
    assert len({i.genome.key for i in asked}) == 60


@pytest.mark.parametrize("screen", [True, False])
def test_every_parent_is_a_member_of_the_population(screen: bool) -> None:
    evolution = Evolution(SPACES["classes of images"], seed=1, random=6, capacity=8, screen=screen)
    flying: list[Individual] = []
    rng = np.random.default_rng(1)
    for _ in range(60):
        members = {member.individual.id for member in evolution.population.members}
        flying.append(evolution.ask())
        assert members.issuperset(flying[-1].parents)
        if len(flying) > 3:
            home = flying.pop(int(rng.integers(len(flying))))
            evolution.tell(home, toy_result(home))
    assert flying[-1].parents


def test_a_choice_keeps_away_from_the_latest_in_flight_and_not_from_hundreds(monkeypatch: pytest.MonkeyPatch) -> None:
    evolution = Evolution(SPACES["slots"], seed=0, random=20)
    for individual in evolution.ask(20):
        evolution.tell(individual, toy_result(individual))
    training_set, avoided = evolution.training_set, []
    assert training_set is not None

    def recorded(pending: Sequence[Genome] = ()) -> SurrogateModel | None:
        avoided.append([genome.key for genome in pending])
        return model()

    model = training_set.model
    monkeypatch.setattr(training_set, "model", recorded)
    asked = evolution.ask(100)
    assert [len(keys) for keys in avoided] == [min(i, 64) for i in range(100)]
    assert avoided[-1] == [individual.genome.key for individual in asked[-2:-66:-1]]


def test_the_population_grows_with_hundreds_of_workers_only() -> None:
    sizes = {workers: Evolution(SPACES["slots"], workers=workers).population.capacity for workers in (1, 16, 128, 1000)}
    assert sizes == {1: 30, 16: 30, 128: 32, 1000: 250}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"seed": None}, "seed: expected an integer ≥ 0, got None"),
        ({"capacity": -3}, "capacity: expected an integer ≥ 1, got -3"),
        ({"capacity": 0}, "capacity: expected an integer ≥ 1, got 0"),
        ({"offspring": 0}, "offspring: expected an integer ≥ 1, got 0"),
        ({"tournament_size": 0}, "tournament_size: expected an integer ≥ 1, got 0"),
        ({"random": 2.5}, "random: expected an integer ≥ 0, got 2.5"),
        ({"objectives": "fitness"}, "objectives: expected a list of words, such as ['fitness'], got 'fitness'"),
        ({"objectives": 3}, "objectives: expected a list of words, such as ['3'], got '3'"),
        ({"objectives": ["accuracy"]}, "objectives: 'accuracy' would be minimised"),
        ({"constraints": "latency_ms <= 2"}, "constraints: expected a list of words, such as ['latency_ms <= 2']"),
        ({"space": None}, "space: expected a SearchSpace, got None"),
    ],
)
def test_what_cannot_drive_a_search_is_told_in_a_line(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        Evolution(**{"space": SPACES["slots"], **wrong})


def test_asking_and_telling_something_else_is_told_in_a_line() -> None:
    evolution = Evolution(SPACES["slots"])
    for number in (-1, 1.5, True):
        with pytest.raises(UserError, match=f"ask: expected an integer ≥ 0, got {number}"):
            evolution.ask(number)  # type: ignore[arg-type, call-overload]
    with pytest.raises(UserError, match=r"tell: expected an Individual and its Result, .* got Individual and float"):
        evolution.tell(evolution.ask(), 0.5)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="slots: expected one or more kinds of genes, got none"):
        SearchSpace.slots([])


def test_a_network_that_took_its_workers_down_is_learnt_from_as_a_failure() -> None:
    evolution = Evolution(SPACES["slots"])
    evolution.tell(evolution.ask(), Result.failed("worker_lost", "4 workers died"))
    assert evolution.training_set is not None
    assert [observation.values for observation in evolution.training_set.observations] == [None]
