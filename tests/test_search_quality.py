"""The comparison of optimizers: the simulation's accounts, the rivals and the command line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.landscapes import Cell, HeavyTailed, Layered
from benchmarks.rivals import RandomSearch, RegularizedEvolution, ScreenedGA, SteadyState
from benchmarks.search_quality import main
from benchmarks.simulation import simulate, simulate_generations
from menndl_dask.evolution import Evolution

CELL = Cell()
RIVALS = [RandomSearch, partial(RegularizedEvolution, size=20, sample=5), SteadyState, ScreenedGA, Evolution]


@pytest.mark.parametrize("make", RIVALS, ids=lambda make: getattr(make, "__name__", "partial"))
def test_every_optimizer_is_simulated_to_the_end(make: type[Evolution]) -> None:
    trace = simulate(make, CELL, 60, 4, 0)
    assert len(trace.truth) == 60
    assert trace.ends == sorted(trace.ends)
    assert trace.truth[-1] > CELL.floor


def test_asynchronous_workers_never_wait_and_those_of_generations_do() -> None:
    landscape = HeavyTailed(CELL)
    steady = simulate(RandomSearch, landscape, 200, 16, 0)
    generations = simulate_generations(RandomSearch, landscape, 200, 16, 0)
    assert steady.utilisation == pytest.approx(1.0)
    assert generations.busy / (16 * generations.span) < 0.6


def test_the_incumbent_is_the_best_observed_and_counts_by_its_truth() -> None:
    trace = simulate(RandomSearch, CELL, 80, 1, 3)
    assert trace.seconds_to(trace.truth[-1]) <= trace.ends[-1]
    assert trace.seconds_to(CELL.best + 1) == np.inf


def test_made_up_networks_have_the_same_value_every_time() -> None:
    landscape = Layered(seed=2)
    genome = landscape.space.sample(np.random.default_rng(0))
    assert landscape.value(genome) == Layered(seed=2).value(genome)


def test_the_command_line_prints_a_table_and_says_what_is_absent(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = ["--seeds", "2", "--evaluations", "30", "--workers", "2", "--macro", str(tmp_path / "none.npz")]
    assert main([*small, "--landscapes", "macro", "cell", "--optimizers", "random search"]) == 0
    said = capsys.readouterr().out
    assert "macro: skipped, there is no" in said
    assert "| random search |" in said
