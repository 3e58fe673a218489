"""Results and individuals: every outcome is one record that survives being written."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
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


class Hostile:
    """An object of which every method raises."""

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError(name)

    def _raise(self, *_: object) -> Any:
        raise ZeroDivisionError

    __eq__ = __str__ = __repr__ = __float__ = __index__ = __len__ = __iter__ = __reduce__ = _raise
    __hash__ = object.__hash__


class Scalar:
    """A number of some framework."""

    shape = ()

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


@pytest.mark.parametrize(
    "fitness",
    [np.float64(0.5), np.float32(0.5), np.float16(0.5), np.array(0.5), np.array([0.5]), Decimal("0.5"), Scalar(0.5)],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_any_framework_become_pythons(fitness: Any) -> None:
    numbers = {"total": fitness}
    result = Result(fitness, costs={"n": np.int64(3)}, times=numbers, curve=[{"loss": fitness}], seed=np.int32(7))
    assert result == Result(0.5, costs={"n": 3}, times={"total": 0.5}, curve=({"loss": 0.5},), seed=7)
    assert [type(value) for value in (result.fitness, result.costs["n"], result.seed)] == [float, int, int]
    assert pickle.loads(pickle.dumps(result)) == result
    assert Result.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.parametrize(
    ("fitness", "shown"),
    [
        ("0.5", "'0.5'"), (b"1", "bytes"), (np.eye(2), "ndarray of shape (2, 2)"), ([0.5], "list"), (1j, "complex"),
        (np.complex64(1), "complex64"), (10**400, "int"), (10**5000, "int"), (np.ma.masked, "MaskedConstant"),
        (Hostile, "Hostile"), ({}, "dict"),
    ],
    ids=range(11),
)  # fmt: skip
def test_a_fitness_of_another_kind_is_an_error_in_words(fitness: Any, shown: str) -> None:
    result = Result(Hostile() if fitness is Hostile else fitness)
    assert (result.failure, result.message) == ("error", f"fitness: expected a number, got {shown}")
    json.dumps(result.to_dict())


def test_what_json_cannot_hold_is_left_out_and_told() -> None:
    wrong = {"confusion": np.eye(3), "nested": {"a": 1}, "bad": Hostile(), (1, 2): 1}
    result = Result(
        0.5,
        metrics={**wrong, "none": None, 3: 0.25, "\ud800": 1},  # type: ignore[dict-item]
        times={"a": math.nan, "b": math.inf, "c": 2**80},
        costs=[1, 2],  # type: ignore[arg-type]
        curve=[{"epoch": 1, "loss": "low"}, 5],  # type: ignore[dict-item, list-item]
        worker=Hostile(),  # type: ignore[arg-type]
        seed="one",  # type: ignore[arg-type]
    )
    assert dict(result.metrics) == {"3": 0.25, "?": 1}
    assert str(result.times) == f"{{'a': nan, 'b': inf, 'c': {float(2**80)}}}"
    assert (result.costs, result.curve, result.seed) == ({}, ({"epoch": 1}, {}), 0)
    assert "costs: left out: expected a mapping of numbers, got list" in result.message
    assert "metrics: 'confusion' is left out: expected a number, got ndarray of shape (3, 3)" in result.message
    read = json.loads(json.dumps(result.to_dict(), ensure_ascii=False).encode())
    assert str(Result.from_dict(read)) == str(result)


def endless() -> Iterator[dict[str, float]]:
    while True:
        yield {"epoch": 1.0}


def test_a_result_has_bounds_and_says_what_was_cut() -> None:
    many = {f"m{n}": 0.5 for n in range(1_500)}
    result = Result(0.5, message="é" * 10**6, metrics=many, curve=endless(), worker="w" * 10**6)  # type: ignore[arg-type]
    assert len(result.message) <= 2000
    assert "… (cut, 1,000,000 characters)" in result.message
    assert "metrics: 500 of 1500 values are left out" in result.message
    assert "curve: only the first 10000 points are kept" in result.message
    assert len(result.metrics) == 1000
    assert len(result.worker) == 200
    assert str(Result.from_dict(json.loads(json.dumps(result.to_dict())))) == str(result)


class Extended(Result):
    """A user's own kind of result, which cannot be read once it is made."""

    is_made = False

    def __getattribute__(self, name: str) -> Any:
        if name == "costs" and Extended.is_made:
            raise ZeroDivisionError
        return super().__getattribute__(name)


@pytest.mark.parametrize("make", [Hostile, lambda: Extended(0.5), lambda: 0.9, dict, lambda: Result])
def test_what_is_no_result_becomes_a_failed_one(make: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    value = make()
    monkeypatch.setattr(Extended, "is_made", True)
    result = Result.returned(value)
    assert type(result) is Result
    assert result.failure == "error"
    assert result.message.startswith("evaluate: expected a Result, got ")


def test_a_result_of_a_later_version_is_read() -> None:
    assert Result.from_dict({"failure": "melted", "message": "hot"}) == Result.failed("error", "'melted': hot")
    assert Result.from_dict({"failure": []}).failure == "error"
    with pytest.raises(ValueError, match="result: expected a mapping, got 5"):
        Result.from_dict(5)  # type: ignore[arg-type]


def test_an_individual_survives_json() -> None:
    individual = Individual(7, Genome((Convolution(8, (3, 5)),)), (1, 2), "crossover")
    read = Individual.from_dict(json.loads(json.dumps(individual.to_dict())))
    assert read == individual
    assert read.genome.genes == individual.genome.genes
    assert individual.name == "00000007"
