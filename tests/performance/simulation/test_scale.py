"""A search on many workers: what its driver and schedulers can bear, and what is simulated of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from menndl_dask.performance.simulation import scale
from menndl_dask.performance.simulation.real_driver import DriverTimes, measure
from menndl_dask.performance.simulation.scale import Evaluations, fitting_islands, most_workers, simulate
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

TIMES = DriverTimes(0.001, {1: 0.03, 4: 0.02, 16: 0.012}, 0.0005, 0.004, 0.001)


def test_a_long_search_goes_on_as_in_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluations = Evaluations(100.0, 0.5)
    short = simulate(TIMES, evaluations, workers=200, count=8000, islands=1).trace
    monkeypatch.setattr(scale, "ROUNDS", 1000)
    whole = simulate(TIMES, evaluations, workers=200, count=8000, islands=1).trace
    assert short.evaluations == whole.evaluations == 8000
    assert short.span == pytest.approx(whole.span, rel=0.03)
    assert short.utilisation == pytest.approx(whole.utilisation, abs=0.002)
    assert short.overall == pytest.approx(whole.overall, abs=0.01)
    assert short.driver_load == pytest.approx(whole.driver_load, rel=0.1)


def test_a_driver_is_saturated_beyond_the_workers_that_it_can_keep_busy() -> None:
    evaluations = Evaluations(10.0, 0.3)
    most = most_workers(TIMES, evaluations)
    few, many = (simulate(TIMES, evaluations, workers=n, count=8 * n, islands=1) for n in (most // 2, 2 * most))
    assert few.trace.utilisation > 0.98
    assert few.limits == []
    assert many.trace.utilisation < 0.6
    assert many.limits[0] == "the driver is saturated"
    islands = fitting_islands(2 * most, 1, most)
    assert islands == 3
    assert simulate(TIMES, evaluations, workers=2 * most, count=16 * most, islands=islands).trace.utilisation > 0.97


def test_one_connection_for_a_node_needs_fewer_islands() -> None:
    most = most_workers(TIMES, Evaluations(954.0))
    assert fitting_islands(27_600, 1, most) == 14
    assert fitting_islands(27_600, 6, most) == 3
    found = simulate(TIMES, Evaluations(954.0), workers=600, count=1200, islands=2, per_worker=6)
    assert found.connections == 50
    assert 0 < found.scheduler_load < 0.1


def test_times_are_log_normal_with_their_mean_or_those_of_a_run() -> None:
    rng = np.random.default_rng(0)
    drawn = Evaluations(60.0, 1.0).draw(rng, 200_000)
    assert drawn.mean() == pytest.approx(60, rel=0.02)
    assert drawn.std() == pytest.approx(60, rel=0.05)
    assert Evaluations(60.0, 1.0, limit_s=90.0).draw(rng, 1000).max() == 90
    assert set(Evaluations(2.0, known=(1.0, 3.0)).draw(rng, 100)) == {1.0, 3.0}
    assert math.isinf(Evaluations(1.0).limit_s)


def test_the_real_evolution_of_islands_is_simulated_and_timed() -> None:
    space = SearchSpace.image(problem())
    times, events = measure(space, lambda rng: float(rng.uniform(0.5, 1.5)), workers=3, evaluations=14, count=2)
    assert [each.trace.evaluations for each in events] == [14, 14]
    assert times.evaluations == 28
    assert set(times.ask) == {1, 4, 16}
    assert 0 < times.random < 1
    assert times.read > 0
