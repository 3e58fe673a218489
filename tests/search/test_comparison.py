"""The comparison: which networks are trained for it, and how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

from menndl_dask.genome.individual import Individual, ranked
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.result import Result
from menndl_dask.run.recorder import STANDARD_ID, Compared
from menndl_dask.search import comparison
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import standard_network
from tests.problems import problem
from tests.runs import made_up

FINALISTS = [e for e in made_up(12) if e[1].succeeded][:2]


def test_the_finalists_and_the_standard_network_are_trained_alike() -> None:
    planned = comparison.plan(problem(), FINALISTS, 4)
    ids = [individual.id for individual, _ in FINALISTS]
    assert [(c.individual.id, c.factor) for c in planned] == [
        (STANDARD_ID, 1), (ids[0], 4), (ids[1], 4), (STANDARD_ID, 4)
    ]  # fmt: skip
    assert [c.name for c in planned[2:]] == [f"network {ids[1]} (budget × 4)", "ResNet, small (budget × 4)"]


def test_the_standard_network_is_no_finalist_where_the_search_began_with_it() -> None:
    of = problem()
    own = (Individual(0, standard_network(of)[1], (), "seeded"), Result(0.99))
    found = comparison.finalists([own, *made_up(12)], of, 2)
    assert [individual.id for individual, _ in found] == [individual.id for individual, _ in ranked(made_up(12), 2)]


def test_at_the_searchs_own_budget_the_standard_network_is_trained_once() -> None:
    planned = comparison.plan(problem(), FINALISTS, 1)
    assert [(c.individual.id, c.factor) for c in planned].count((STANDARD_ID, 1)) == 1
    assert len(planned) == 3


def looked_at(individual: Individual, of: Problem, limits: Limits, **given: Any) -> Result:
    """Return what it was called with."""
    words = [f"{name}={given.get(name)}" for name in ("trained", "save", "test")]
    return Result(0.5, message=" ".join([*words, f"epochs={of.budget.epochs:g}"]))


def test_without_a_longer_training_the_winner_is_measured_as_the_search_has_trained_it(
    client: Client, tmp_path: Path
) -> None:
    one, result = FINALISTS[1]
    of = problem(budget=Budget(epochs=3))
    planned = comparison.plan(of, [(one, result)], 0)
    assert [(c.individual.id, c.factor) for c in planned] == [(STANDARD_ID, 1), (one.id, 0)]
    done = list(comparison.train(client, of, planned, Limits(), tmp_path, looked_at))
    found = next(c.result.message for c in done if c.individual.id == one.id)
    assert found == f"trained={tmp_path / 'networks' / one.name / 'network.keras'} save=None test=True epochs=3"


def test_images_without_a_standard_network_are_compared_without() -> None:
    line = problem(shapes=((1, 40, 1),))
    assert all(not c.is_standard for c in comparison.plan(line, FINALISTS, 2))


def measured(individual: Individual, of: Problem, limits: Limits, **given: Any) -> Result:
    """Return what it was called with, or die where the network is the first finalist."""
    if individual.id == FINALISTS[0][0].id:
        raise ValueError("a user's loss")
    return Result(0.5, metrics={"epochs": of.budget.epochs or 0, "seconds": limits.seconds, "test": given["test"]})


@pytest.fixture(scope="module")
def client() -> Any:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    with cluster, Client(cluster) as opened:
        yield opened


def test_all_are_trained_with_the_longer_budget_and_failures_are_results(client: Client, tmp_path: Path) -> None:
    of = problem(budget=Budget(epochs=3))
    planned = comparison.plan(of, FINALISTS, 4)
    trained = {
        (c.individual.id, c.factor): c.result
        for c in comparison.train(client, of, planned, Limits(seconds=100), tmp_path, measured)
    }
    assert len(trained) == 4
    assert trained[STANDARD_ID, 1].metrics == {"epochs": 3, "seconds": 100, "test": True}
    assert trained[STANDARD_ID, 4].metrics == {"epochs": 12, "seconds": 400, "test": True}
    died = trained[FINALISTS[0][0].id, 4]
    assert died.failure == "error"
    assert "a user's loss" in died.message


def begun(individual: Individual, of: Problem, limits: Limits, *, checkpoint: str, **given: Any) -> Result:
    """Leave a checkpoint behind."""
    Path(checkpoint).write_text("how far it is")
    return Result(0.5, metrics={"early_stopping": float(of.budget.early_stopping or len(of.budget.rungs))})


def test_what_is_compared_is_trained_to_its_end_and_its_checkpoint_goes_when_the_result_is_home(
    client: Client, tmp_path: Path
) -> None:
    planned = comparison.plan(problem(), FINALISTS, 2)
    trained = list(comparison.train(client, problem(), planned, Limits(), tmp_path, begun))
    assert [c.result.message for c in trained if not c.result.succeeded] == []
    assert [c.result.metrics["early_stopping"] for c in trained] == [0.0] * len(planned)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_each_trained_network_has_a_file_of_its_own(tmp_path: Path) -> None:
    paths = {comparison.trained_path(tmp_path, c) for c in comparison.plan(problem(), FINALISTS, 4)}
    assert len(paths) == 4


def test_with_several_objectives_the_finalists_are_of_the_front_its_knee_first() -> None:
    space = SearchSpace.image(problem())
    rng = np.random.default_rng(0)
    scores = [(0.90, 1e6), (0.89, 1e4), (0.50, 1e3), (0.60, 2e6)]  # accurate and large, the knee, poor, beaten
    found = [
        (Individual(n, space.sample(rng)), Result(fitness, costs={"parameters": size}))
        for n, (fitness, size) in enumerate(scores)
    ]
    several = replace(problem(), objectives=("fitness", "parameters"))
    assert [one.id for one, _ in comparison.finalists(found, several, 3)] == [1, 0, 2]
    limited = replace(problem(), constraints=("parameters<=5000",))
    assert [one.id for one, _ in comparison.finalists(found, limited, 3)] == [2]
    assert [one.id for one, _ in comparison.finalists(found, problem(), 2)] == [0, 1]


def test_a_network_within_the_constraints_is_preferred_to_a_fitter_one() -> None:
    large, small = (Compared(str(n), FINALISTS[0][0], 1.0, Result(0.5, costs={"parameters": n})) for n in (9e5, 100.0))
    limited = replace(problem(), constraints=("parameters<=5000",))
    assert comparison.within_limits([large, small], limited) == [small]
    assert comparison.within_limits([large], limited) == [large]  # rather than none
