"""Acquisition: which networks are worth an evaluation, by the results so far."""

from __future__ import annotations

import numpy as np

from menndl_dask.evolution.surrogate.acquisition import Observation, SurrogateModel
from menndl_dask.evolution.surrogate.training_set import TrainingSet
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, FullyConnected
from menndl_dask.objective import Objectives
from menndl_dask.space.space import SearchSpace
from tests.entries import SPACE, observations
from tests.problems import PROBLEMS
from tests.spaces import SPACES, Edge

ONE = np.ones(1)


def fitted(
    given: list[Observation],
    objectives: Objectives | None = None,
    pending: tuple[Genome, ...] = (),
    space: SearchSpace = SPACE,
) -> SurrogateModel:
    training_set = TrainingSet(space, objectives or Objectives())
    for observation in given:
        training_set.add(observation)
    model = training_set.model(pending)
    assert model is not None
    return model


def beginning_with(*operations: str) -> list[Genome]:
    rest = (Edge("conv3"),) * 5 + (Edge("skip"),) * 2
    return [Genome((Edge(first), *rest)) for first in operations]


def test_a_better_network_is_worth_more() -> None:
    model = fitted(observations(120))
    points = model.features.of([Genome((Edge("conv3"),) * 8), Genome((Edge("none"),) * 8)])
    good, bad = model.acquisition(points, 0.0, ONE)
    assert good > bad + 1.0


def test_a_network_like_those_that_failed_is_less_likely_feasible_and_worth_little() -> None:
    given = [
        Observation(o.genome, None if o.genome.genes[0] == Edge("pool") else o.values) for o in observations(160)
    ]
    model = fitted(given)
    points = model.features.of(beginning_with("skip", "pool"))
    feasible = model.predict(points).probability_feasible
    assert feasible[0] > 0.8 and feasible[1] < 0.4
    first, second = model.acquisition(points, 0.0, ONE)
    assert first > second + 0.5


def test_networks_like_those_that_broke_a_measured_constraint_are_worth_little() -> None:
    given = [Observation(o.genome, o.values, o.genome.genes[0] != Edge("pool")) for o in observations(160)]
    model = fitted(given, Objectives.of(["fitness"], ["latency_ms <= 2"]))
    first, second = model.acquisition(model.features.of(beginning_with("skip", "pool")), 0.0, ONE)
    assert first > second + 0.5


def test_a_network_like_one_that_is_being_evaluated_is_worth_less_for_as_long() -> None:
    (one,) = beginning_with("skip")
    given = observations(30)
    apart, near = fitted(given), fitted(given, pending=(one,))
    points = apart.features.of([one])
    assert near.predict(points).std[0] < 0.7 * apart.predict(points).std[0]
    assert near.acquisition(points, 1.0, ONE)[0] < apart.acquisition(points, 1.0, ONE)[0]
    assert near.acquisition(points, 0.0, ONE)[0] - apart.acquisition(points, 0.0, ONE)[0] < 1e-6


def test_a_cost_that_a_genome_tells_is_not_predicted() -> None:
    space = SPACES["classes of images"]
    given = []
    rng = np.random.default_rng(0)
    for i in range(40):
        genome = space.sample(rng)
        parameters = cost_of(genome, PROBLEMS["classes of 2-D images"]).parameters
        given.append(Observation(genome, (float(i % 7), -float(parameters)), parameters <= 20000))
    model = fitted(given, Objectives.of(["fitness", "parameters"], ["parameters <= 20000"]), space=space)
    small, large = Genome((Convolution(8), FullyConnected(8))), Genome((Convolution(64), FullyConnected(200)))
    points = model.features.of([small, large])
    known = model.features.known_cost("parameters", points)
    assert known is not None
    assert round(known[0]) == cost_of(small, PROBLEMS["classes of 2-D images"]).parameters
    assert model.features.known_cost("latency_ms", points) is None
    first, second = model.acquisition(points, 0.0, np.array([0.0, 1.0]))
    assert first > second
    assert second == -2.0  # breaks the hard constraint for certain
