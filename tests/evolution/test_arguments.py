"""Arguments of `Evolution`, of search spaces and of what stands beside them: a wrong one is one clear line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from menndl_dask import Evolution, Gene, Limits, Result, Run, SearchSpace, choice, load_cluster, predict
from menndl_dask.errors import UserError
from menndl_dask.search.plan.plan import plan_search


@dataclass(frozen=True, slots=True)
class Edge(Gene):
    """A choice of three operations."""

    operation: str = choice("none", "skip", "conv3")


@dataclass(frozen=True, slots=True)
class Fixed(Gene):
    """A field without a domain."""

    width: int = 3


@dataclass
class Thawed(Gene):
    """Not frozen."""

    width: int = choice(1, 2)


class Plain(Gene):
    """No dataclass."""


SPACE = SearchSpace.slots([Edge] * 6)
WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: Evolution(SPACE, objectives="fitness"), "objectives: expected a list of words, such as ['fitness']"),  # type: ignore[arg-type]
    (lambda: Evolution(SPACE, constraints="latency_ms <= 2"), "constraints: expected a list of words"),
    (lambda: Evolution(SPACE, objectives=["accuracy"]), "'accuracy' would be minimised"),
    (lambda: Evolution(SPACE, capacity=-3), "capacity: expected an integer ≥ 1, got -3"),
    (lambda: Evolution(SPACE, tournament_size=0), "tournament_size: expected an integer ≥ 1, got 0"),
    (lambda: Evolution(SPACE, seed=None), "seed: expected an integer ≥ 0, got None"),  # type: ignore[arg-type]
    (lambda: Evolution(SPACE, survival=None), "survival: expected a function, such as ageing, got None"),  # type: ignore[arg-type]
    (lambda: Evolution(SPACE, initial=None), "initial: expected a list of genomes, got None"),  # type: ignore[arg-type]
    (lambda: Evolution(SPACE).ask(-1), "ask: expected an integer ≥ 0, got -1"),
    (lambda: Evolution(SPACE).tell(Evolution(SPACE).ask(), 0.5), "tell: expected an Individual and its Result"),  # type: ignore[arg-type]
    (lambda: SearchSpace.slots([]), "slots: expected one or more kinds of genes, got none"),
    (lambda: SearchSpace.slots(Edge), "slots: expected a list of kinds of genes, such as [Edge] * 6, got Edge"),  # type: ignore[arg-type]
    (lambda: SearchSpace.slots(3), "slots: expected a list of kinds of genes, such as [Edge] * 6, got 3"),  # type: ignore[arg-type]
    (lambda: SearchSpace.sequence([Edge], minimum="a"), "expected 0 ≤ minimum ≤ maximum, got a, 12"),  # type: ignore[arg-type]
    (lambda: SearchSpace.slots([Fixed]), "Fixed.width: expected a domain to choose from, such as width: int = integer"),
    (lambda: SearchSpace.slots([Thawed]), "Thawed: expected a class with @dataclass(frozen=True, slots=True), got one"),
    (lambda: SearchSpace.slots([Plain]), "Plain: expected a class with @dataclass(frozen=True, slots=True), got no"),
    (lambda: SearchSpace.image("data.zarr"), "problem: expected a Problem, as open_problem returns it"),  # type: ignore[arg-type]
    (lambda: plan_search(None), "problem: expected a Problem, as open_problem returns it, got None"),  # type: ignore[arg-type]
    (lambda: Run(None), "run: expected the path of a run directory, got None"),  # type: ignore[arg-type]
    (lambda: load_cluster(3), "profile: expected the name of a profile or a file, such as 'local', got 3"),  # type: ignore[arg-type]
    (lambda: load_cluster("local", workers="2"), "workers: expected an integer ≥ 1, got 2"),  # type: ignore[arg-type]
    (lambda: Limits(seconds="long"), "limits: seconds: expected a number > 0, got 'long'"),  # type: ignore[arg-type]
    (lambda: predict("best.keras", None, "out.zarr"), "source: expected a path, got None"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "line"), WRONG, ids=[line[:40] for _, line in WRONG])
def test_a_wrong_argument_is_one_line(call: Callable[[], Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert line in str(caught.value)


@pytest.mark.parametrize("fitness", [np.float64(0.5), np.float32(0.5), np.array(0.5)])
def test_numbers_of_numpy_are_results(fitness: Any) -> None:
    assert Result(fitness, metrics={"confusion": np.zeros(0)}).fitness == 0.5


def test_numbers_are_only_ordered_where_they_are_meant_to_be() -> None:
    @dataclass(frozen=True, slots=True)
    class Model(Gene):
        size: int = choice(1, 4, 6)
        name: int = choice(1, 4, 6, ordered=False)

    size, name = Model.domains()["size"], Model.domains()["name"]
    rng = np.random.default_rng(0)
    assert {size.step(1, rng) for _ in range(30)} == {4, 6}  # 6 is seldom two steps away
    steps = [name.step(1, rng) for _ in range(300)]
    assert 100 < steps.count(6) < 200
    assert str(size) == str(name)  # what a run records


def test_an_evolution_in_use_can_be_pickled() -> None:
    evolution = Evolution(SPACE, random=5)
    for number in range(12):
        evolution.tell(evolution.ask(), Result(number / 12))
    assert pickle.loads(pickle.dumps(evolution)).ask() == evolution.ask()
