"""`workflow.compare_with` on a cluster: a run beside standard networks and random search, interrupted and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from menndl_dask import workflow
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.problem import Budget, Limits, Problem
from menndl_dask.result import Result
from menndl_dask.run.recorder import CONTENDERS, STANDARD_ID
from menndl_dask.run.run import Run
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import named_network
from tests.problems import problem
from tests.runs import finished

OF = problem(budget=Budget(epochs=3), seed=40)


def measured(individual: Individual, of: Problem, limits: Limits, **given: Any) -> Result:
    """Return the number of layers as a fitness, and what it was called with."""
    layers, epochs = len(individual.genome.layers), float(of.budget.epochs or 0)
    metrics = {"test_accuracy": layers / 100, "epochs": epochs, "seed": float(given["seed"])}
    return Result(layers / 100, metrics=metrics if given.get("test") else {}, times={"total": 1.0})


def alone(individual: Individual, of: Problem, limits: Limits, **given: Any) -> Result:
    """Return the number of layers as a latency; of networks of two layers a measurement that was disturbed."""
    layers = len(individual.genome.layers)
    return Result(0.0, costs={"latency_ms": float(layers), "busy_share": 0.5 if layers == 6 else 0.0})


@pytest.fixture(scope="module")
def client() -> Any:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")
    with cluster, Client(cluster) as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path) -> Run:
    genomes = [Genome((Convolution(8),) * (i + 2)) for i in range(5)]
    return finished(
        tmp_path / "run", [(Individual(i, g), Result(i / 10, times={"total": 1.0})) for i, g in enumerate(genomes)], OF
    )


def compare_with(run: Run, client: Client, **changes: Any) -> list[tuple[str, int | None]]:
    title, genome = named_network("lenet5", OF)
    others = [(title, Individual(STANDARD_ID, genome, (), "standard"))]
    usual: dict[str, Any] = {"factor": 2.0, "finalists": 2, "seeds": 3, "limits": Limits(), "problem": OF}
    workflow.compare_with(run, client, others, **{**usual, "evaluate": measured, "measure": alone, **changes})
    return [(c.name, c.seed) for c in run.contenders]


def test_each_network_is_trained_with_each_seed_and_the_same_budget_and_only_once(
    run: Run, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare_with(run, client, seeds=2)
    names = ["network 4", "network 3", "LeNet-5"]
    assert sorted(found) == sorted((name, seed) for name in names for seed in (40, 41))
    assert {c.result.metrics["epochs"] for c in run.contenders} == {6.0}
    assert [c.result.metrics["seed"] for c in run.contenders] == [float(c.seed or 0) for c in run.contenders]
    assert "trainings to compare: 6; 2 seeds of each network" in capsys.readouterr().out
    assert len(compare_with(run, client)) == 9
    assert "trainings to compare: 3; 3 seeds" in capsys.readouterr().out
    assert not list(run.path.rglob("*.keras"))  # they are only measured


def test_budgets_are_compared_side_by_side_and_predictions_are_measured_alone_and_again_if_disturbed(
    run: Run, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_with(run, client, seeds=1, factor=[4, 1])
    assert [(c.name, c.factor) for c in run.contenders] == [
        (name, factor) for factor in (1.0, 4.0) for name in ("network 4", "network 3", "LeNet-5")
    ]
    latencies = {len(c.individual.genome.layers): run.measured[c.individual.genome.key] for c in run.contenders}
    assert {layers: costs["latency_ms"] for layers, costs in latencies.items()} == {5: 5.0, 6: 6.0}
    assert "measuring the predictions of 3 networks, one at a time" in capsys.readouterr().out
    compare_with(run, client, seeds=1, factor=[4, 1])
    disturbed = sum(len(c.individual.genome.layers) == 6 for c in run.contenders) // 2
    assert f"measuring the predictions of {disturbed} network" in capsys.readouterr().out


def test_a_network_that_is_a_standard_one_takes_part_once_with_both_names(run: Run, client: Client) -> None:
    individual = next(i for i, _ in run.evaluations if i.id == 4)
    workflow.compare_with(
        run, client, [("ResNet-18", individual)], factor=1.0, finalists=1, seeds=1, limits=Limits(), problem=OF,
        evaluate=measured, measure=alone,
    )  # fmt: skip
    assert [c.name for c in run.contenders] == ["network 4 = ResNet-18"]


def test_random_networks_take_as_long_as_the_search_and_their_best_take_part(run: Run, client: Client) -> None:
    found = compare_with(run, client, seeds=1, random=SearchSpace.image(OF, maximum=6))
    drawn = list(Run(run.path / CONTENDERS / "random").evaluations)
    assert 5 <= len(drawn) <= 8  # one worker: some were in flight when the time was over
    best = min(drawn, key=lambda e: (-(e[1].fitness or 0), e[0].id))[0]
    assert f"random network {best.id}" in [name for name, _ in found]
    assert sum(name.startswith("random network") for name, _ in found) == 2
    compare_with(run, client, seeds=1, random=SearchSpace.image(OF, maximum=6))
    assert len(list(Run(run.path / CONTENDERS / "random").evaluations)) == len(drawn)
