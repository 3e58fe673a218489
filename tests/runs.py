"""Run directories without a search, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.problem import Limits, Problem
from menndl_dask.result import Result
from menndl_dask.run.recorder import Recorder
from menndl_dask.run.run import Run
from menndl_dask.run.settings import frozen_settings
from menndl_dask.space.space import SearchSpace
from tests import stories
from tests.problems import problem


def recorder(path: Path, of: Problem | None = None, **extra: Any) -> Recorder:
    """Return an opened run of a problem."""
    of = of or problem()
    opened = Recorder(path)
    opened.freeze(frozen_settings(of, SearchSpace.image(of), 7, Limits(), extra))
    return opened


def finished(path: Path, evaluations: list[Evaluation], of: Problem = stories.STEM) -> Run:
    """Return a run with these evaluations, told in this order."""
    with recorder(path, of) as opened:
        opened.asked(sorted((individual for individual, _ in evaluations), key=lambda individual: individual.id))
        opened.completed(evaluations)
    return Run(path)


def made_up(count: int = 12) -> list[Evaluation]:
    """Return evaluations of real genomes, some of which failed."""
    return stories.evaluations(count)


def result_of(individual: Individual, fitness: float) -> Evaluation:
    """Return an individual with a result."""
    return individual, Result(fitness, costs={"parameters": 10.0})
