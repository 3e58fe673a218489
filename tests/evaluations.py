"""Evaluations that take next to no time, for tests of the search; workers import them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from distributed import get_worker

from menndl_dask.evaluation.scratch import Scratch
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace
from menndl_dask.training.request import Threshold
from tests.spaces import Edge, toy_result

SPACE = SearchSpace.slots([Edge] * 6)


def instant(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Return the toy's result at once."""
    return toy_result(individual)


def brief(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Return the toy's result after a moment that a test can act in, with where it was evaluated."""
    time.sleep(0.1)
    result = toy_result(individual).to_dict() | {"worker": get_worker().address, "times": {"total": 0.1}}
    return Result.from_dict(result)


def unhurried(hurry: Path, individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Return what `brief` does, after a longer while until the test writes a file."""
    time.sleep(0.0 if hurry.exists() else 0.8)
    return brief(individual, problem, limits)


def saving(
    individual: Individual, problem: Any, limits: Limits, *, seed: int, save: str, save_above: float | None
) -> Result:
    """Save something as the network when it is worth it."""
    result = toy_result(individual)
    if result.fitness is not None and (save_above is None or result.fitness > save_above):
        path = Path(save)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{result.fitness}")
    return Result.from_dict(result.to_dict() | {"seed": seed})


def climbing(
    individual: Individual, problem: Any, limits: Limits, *, thresholds: Sequence[Threshold], **_: Any
) -> Result:
    """Return the toy's result, half of which it had at half of its budget, unless that is below a threshold."""
    result = toy_result(individual)
    if result.fitness is None:
        return result
    curve = ({"share": 0.5, "fitness": result.fitness / 2}, {"share": 1.0, "fitness": result.fitness})
    if any(threshold.stops(result.fitness / 2, {}) for threshold in thresholds):
        metrics = {"fitness": result.fitness / 2, "thresholds": len(thresholds)}
        return Result.failed("pruned", curve=curve[:1], metrics=metrics)
    return Result(result.fitness, curve=curve, metrics={"thresholds": len(thresholds)})


def failing(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Learn nothing, whatever the network."""
    return Result.failed("no_learning", "made up")


def raising(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Raise for one network in two."""
    if individual.id % 2:
        raise ValueError("a mistake\nin the user's metric")
    return toy_result(individual)


def poisonous(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Take the worker down with network 1."""
    if individual.id == 1:
        os._exit(1)
    return toy_result(individual)


def hanging(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Never come back from network 1."""
    if individual.id == 1:
        time.sleep(3600)
    return toy_result(individual)


def busy_beside_a_hanging_one(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Never come back from network 1, and take a moment for the others."""
    time.sleep(3600 if individual.id == 1 else 0.05)
    return toy_result(individual)


class Unfriendly:
    """An object of which every method raises, and that cannot be sent anywhere."""

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError(name)

    def _raise(self, *_: object) -> Any:
        raise ZeroDivisionError

    __eq__ = __str__ = __repr__ = __float__ = __len__ = __iter__ = __reduce__ = _raise  # type: ignore[assignment]
    __hash__ = object.__hash__


class UnfriendlyError(Exception):
    """An exception whose message cannot be made."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@dataclass(frozen=True)
class Unpickled(Result):
    """A result that becomes something else on its way."""

    def __reduce__(self) -> Any:
        return print, ("unpickled",)


def odd(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Any:
    """Return or raise one odd thing after the other."""
    good = toy_result(individual).fitness or 0.5
    returned: list[Callable[[], Any]] = [
        lambda: Result(np.float32(good), metrics={"confusion": np.eye(2)}),
        lambda: Result(np.array(good), costs={"a": np.int64(1), "b": {"c": 1}}),  # type: ignore[dict-item]
        lambda: Result(good, message="m" * 100_000_000),
        lambda: Result(good, metrics={"same": Unfriendly()}, worker=Unfriendly()),  # type: ignore[dict-item, arg-type]
        lambda: Unpickled(good),
        lambda: Result(good, curve=[1, 2]),  # type: ignore[list-item]
        lambda: Result(good, metrics={"f": lambda: 1}),  # type: ignore[dict-item]
        Unfriendly,
        lambda: {"fitness": good},
        lambda: sys.exit("enough"),
        lambda: _raised(UnfriendlyError()),
    ]
    return returned[individual.id % len(returned)]()


def _raised(error: Exception) -> None:
    raise error


def misconfigured(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Miss a module, whatever the network."""
    raise ModuleNotFoundError("No module named 'my_metric'")


def misconfigured_on_one(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Miss a module on the worker of this name only; others begin slowly, so that many failures follow each other."""
    worker = get_worker()
    if worker.name == "unfit":
        raise ModuleNotFoundError("No module named 'my_metric'")
    if not hasattr(worker, "has_begun"):
        worker.has_begun = True
        time.sleep(3.0)
    return toy_result(individual)


def staging(disk: Path, individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Need room on a disk."""
    Scratch.shared("samples", disk).release()
    return toy_result(individual)


def waiting(file: Path, individual: Individual, problem: Any, limits: Limits, **_: Any) -> Result:
    """Wait until the test writes a file."""
    while not file.exists():
        time.sleep(0.01)
    return toy_result(individual)


def rubbish(individual: Individual, problem: Any, limits: Limits, **_: Any) -> Any:
    """Return what is no result."""
    return 0.9
