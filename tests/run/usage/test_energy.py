"""The energy of a run: what evaluations that shared a node are counted for."""

from __future__ import annotations

import pytest

from menndl_dask.run.usage.energy import energy_of
from menndl_dask.run.usage.session import Evaluated


def one(number: int, begin: float, end: float, node: str = "a", **joules: float | None) -> Evaluated:
    return Evaluated(number, end, begin, end - begin, worker=f"tcp://{node}:{number}", **joules)  # type: ignore[arg-type]


def test_the_energy_of_a_node_is_divided_among_those_that_ran_there_at_a_time() -> None:
    # 100 W: alone for 5 s, together for 5 s, alone for 5 s
    energy = energy_of([one(0, 0, 10, cpu_joules=1000.0), one(1, 5, 15, cpu_joules=1000.0)])
    assert energy.by_network == pytest.approx({0: 750.0, 1: 750.0})
    assert energy.total == pytest.approx(1500.0)
    apart = energy_of([one(0, 0, 10, cpu_joules=1000.0), one(1, 5, 15, "b", cpu_joules=1000.0)])
    assert apart.total == pytest.approx(2000.0)


def test_what_was_not_read_is_not_guessed() -> None:
    assert energy_of([one(0, 0, 10)]).total is None
    energy = energy_of([one(0, 0, 10, gpu_joules=3.6e6), one(1, 0, 10)])
    assert (energy.gpu, energy.cpu, energy.networks, energy.kwh) == (3.6e6, None, 1, 1.0)
    assert energy.carbon_g(380.0) == pytest.approx(380.0)
