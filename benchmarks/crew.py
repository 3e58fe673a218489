"""Our evaluation on Dask workers of this machine, for `evaluation.py --machine`: as many at once as in a search.

A turn is of several networks and ends when the last of them is home, so that the workers rest in the turns of others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, wait

from menndl_dask import Individual, Limits, Problem, Result, evaluate, load_cluster
from menndl_dask.cluster.profile import Local
from menndl_dask.search.rungs import PruningRules

Outcome = tuple[float, float]  # fitness, seconds of training
_AS_ASKED = (None, "no_learning", "pruned")


def outcome(result: Result) -> Outcome:
    """Return what came of an evaluation; one that was stopped early has its last fitness."""
    assert result.failure in _AS_ASKED, result.message
    return result.metrics["fitness"] if result.fitness is None else result.fitness, result.times["train"]


@dataclass(slots=True)
class Crew:
    """Workers that are started with the first turn.

    Parameters
    ----------
    problem, networks, limits
        What they evaluate.
    """

    problem: Problem
    networks: Sequence[Individual]
    limits: Limits
    _stack: ExitStack = field(default_factory=ExitStack)
    _client: Client | None = None
    _rungs: PruningRules = field(init=False)

    def __post_init__(self) -> None:
        self._rungs = PruningRules(self.problem.budget)

    def train(self, numbers: Sequence[int]) -> list[Outcome]:
        """Evaluate the networks of some numbers; as many are in flight as the workers have threads."""
        client = self._client = self._client or self._started()
        waiting, home, flying = list(numbers), {}, {}
        free = sum(client.nthreads().values())
        while waiting or flying:
            # thresholds ride with each, from what is known by then
            while waiting and len(flying) < free:
                number = waiting.pop(0)
                flying[self._submitted(client, number)] = number
            for future in wait(list(flying), return_when="FIRST_COMPLETED").done:
                result = future.result()
                self._rungs.tell(result)
                home[flying.pop(future)] = outcome(result)
        return [home[number] for number in numbers]

    def close(self) -> None:
        """End the workers."""
        self._stack.close()

    def _started(self) -> Client:
        cluster = self._stack.enter_context(load_cluster(Local(dashboard_port=None)))
        client = self._stack.enter_context(cluster.client())
        client.wait_for_workers(len(os.sched_getaffinity(0)))
        return client

    def _submitted(self, client: Client, number: int) -> Any:
        thresholds = self._rungs.thresholds() if self.problem.budget.early_stopping else ()
        given = self.networks[number], self.problem, self.limits
        return client.submit(evaluate, *given, thresholds=thresholds, pure=False, key=f"{id(self)}-{number}")
