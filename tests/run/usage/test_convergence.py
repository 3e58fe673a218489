"""How fast a search has improved, against evaluations, hours and energy."""

from __future__ import annotations

import pytest

from menndl_dask.run.usage.convergence import improvements
from menndl_dask.run.usage.session import Evaluated, Presence, Session
from menndl_dask.run.usage.usage import Usage

W = "tcp://10.0.0.1:1"


def test_each_improvement_and_the_end_stand_beside_what_they_had_taken() -> None:
    fitness = [0.5, None, 0.4, 0.7, 0.6]
    each = [
        Evaluated(n, 3600.0 * (n + 1), 3600.0 * n, 3600.0, worker=W, fitness=value, gpu_joules=100.0)
        for n, value in enumerate(fitness)
    ]
    usage = Usage((Session(asked=0.0, evaluated=each, presence=[Presence(0.0, 1, 2, 1)]),))
    found = improvements(usage)
    assert [(one.number, one.fitness, one.evaluations) for one in found] == [(0, 0.5, 1), (3, 0.7, 4), (3, 0.7, 5)]
    assert [one.generations for one in found] == [0.5, 2.0, 2.5]
    assert [(one.hours, one.worker_hours, one.node_hours) for one in found] == [(1, 2, 1), (4, 8, 4), (5, 10, 5)]
    assert [one.joules for one in found] == pytest.approx([100.0, 400.0, 500.0])


def test_a_run_in_which_none_has_succeeded_has_not_improved() -> None:
    each = [Evaluated(0, 1.0, 0.0, 1.0, worker=W, failure="diverged")]
    assert improvements(Usage((Session(asked=0.0, evaluated=each),))) == []
