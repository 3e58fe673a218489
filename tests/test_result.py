"""Results and individuals: every outcome is one record that survives being written."""

from __future__ import annotations

import json
import math

import pytest

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.result import FAILURES, Result


@pytest.mark.parametrize("fitness", [None, math.nan, math.inf, -math.inf])
def test_a_fitness_that_is_no_number_is_a_failure(fitness: float | None) -> None:
    result = Result(fitness=fitness)
    assert result.failure == "diverged"
    assert result.fitness is None


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failed_result_never_has_a_fitness(kind: str) -> None:
    assert Result(fitness=0.9, failure=kind).fitness is None
    assert not Result.failed(kind, "why").succeeded


def test_an_unknown_kind_of_failure_is_refused() -> None:
    with pytest.raises(ValueError, match="failure: expected one of infeasible"):
        Result.failed("bad luck")


def test_a_result_survives_json() -> None:
    result = Result(
        0.5, costs={"parameters": 10}, curve=({"epoch": 1, "loss": 0.1},), times={"total": 1.5}, worker="here", seed=3
    )
    assert Result.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_a_result_of_an_old_journal_is_read() -> None:
    assert Result.from_dict({"fitness": 0.5, "inherited": {"3": 80}}) == Result(0.5)
    assert Result.from_dict({"failure": "hopeless"}) == Result.failed("pruned")


def test_an_individual_survives_json() -> None:
    individual = Individual(7, Genome((Convolution(8, (3, 5)),)), (1, 2), "crossover")
    read = Individual.from_dict(json.loads(json.dumps(individual.to_dict())))
    assert read == individual
    assert read.genome.genes == individual.genome.genes
    assert individual.name == "00000007"
