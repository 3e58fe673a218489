"""The comparison of optimizers: the simulation's accounts, the rivals and the command line."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.digits_table import STEPS, generate, network
from benchmarks.interactions import Eight, Interactions
from benchmarks.landscapes import Cell, Digits, HeavyTailed, Layered, Step, Width, read_digits
from benchmarks.rivals import RandomSearch, RegularizedEvolution, ScreenedGA, SteadyState
from benchmarks.search_quality import main
from benchmarks.simulation import simulate, simulate_generations
from menndl_dask.errors import UserError
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.genome.genome import Genome

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
    assert trace.value_at(80) == trace.truth[-1] <= trace.value_at(80, found=True)
    assert trace.found == sorted(trace.found)
    assert trace.seconds_to(trace.truth[-1]) <= trace.ends[-1]
    assert trace.seconds_to(CELL.best + 1) == np.inf


def test_made_up_networks_have_the_same_value_every_time() -> None:
    landscape = Layered(seed=2)
    genome = landscape.space.sample(np.random.default_rng(0))
    assert landscape.value(genome) == Layered(seed=2).value(genome)


def test_no_network_of_interacting_slots_is_better_than_the_best_and_some_fail() -> None:
    landscape = Interactions("slots", Eight, 5)
    rng = np.random.default_rng(0)
    outcomes = [landscape.evaluate(landscape.space.sample(rng), rng) for _ in range(400)]
    assert max(o.truth for o in outcomes) <= landscape.best
    assert any(o.result.failure for o in outcomes)
    assert landscape.best > landscape.good > 0.5


def test_as_few_networks_of_a_landscape_are_viable_as_was_asked_for() -> None:
    landscape = Interactions("slots", Eight, 5, seed=3, viable=0.03)
    rng = np.random.default_rng(0)
    outcomes = [landscape.evaluate(landscape.space.sample(rng), rng) for _ in range(2000)]
    assert np.mean([o.result.failure is None for o in outcomes]) == pytest.approx(0.03, abs=0.012)


def test_the_command_line_prints_a_table_and_says_what_is_absent(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    small = ["--seeds", "2", "--evaluations", "30", "--workers", "2", "--macro", str(tmp_path / "none.npz")]
    assert main([*small, "--landscapes", "macro", "cell", "--optimizers", "random search"]) == 0
    said = capsys.readouterr().out
    assert "macro: skipped, there is no" in said
    assert "| random search |" in said


def write_table(path: Path, kernels: tuple[int, ...] = (8, 24)) -> Path:
    """Write a table of digits whose trainings are made up; the one with most convolutions is the best."""
    lines = ["# made up", "kernels,steps,seed,fitness,cpu_seconds,parameters,flops"]
    for width, steps, seed in itertools.product(kernels, itertools.product("crsp", repeat=STEPS), (0, 1)):
        fitness = "" if steps == ("p",) * STEPS and seed else f"{0.1 + 0.2 * steps.count('c') + 0.01 * seed:.4f}"
        lines.append(f"{width},{''.join(steps)},{seed},{fitness},1.5,{100 * width},{1000 * width}")
    path.write_text("\n".join([*lines, "8,cccc,1,0.9"]), encoding="utf-8")  # the last one is cut short
    return path


def test_networks_for_digits_are_looked_up_and_count_by_the_mean_of_their_trainings(tmp_path: Path) -> None:
    landscape = Digits(write_table(tmp_path / "digits.csv"))
    assert landscape.best == pytest.approx(0.905)
    assert landscape.space.size == 512
    rng = np.random.default_rng(0)
    outcomes = [landscape.evaluate(Genome((Width(24), *[Step("convolution")] * STEPS)), rng) for _ in range(20)]
    assert {round(o.result.fitness or 0, 2) for o in outcomes} == {0.9, 0.91}
    assert {(o.truth, o.seconds, o.result.costs["parameters"]) for o in outcomes} == {(landscape.best, 1.5, 2400.0)}
    pools = [landscape.evaluate(Genome((Width(8), *[Step("pooling")] * STEPS)), rng) for _ in range(20)]
    assert {o.result.failure for o in pools} == {None, "diverged"}


def test_a_table_of_digits_that_is_not_whole_says_how_to_complete_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"256 networks are missing; python -m benchmarks\.digits_table"):
        Digits(write_table(tmp_path / "digits.csv", kernels=(8,)))


def test_a_table_of_digits_is_carried_on_where_it_was_stopped(tmp_path: Path) -> None:
    table = write_table(tmp_path / "digits.csv", kernels=(8,))
    before = "".join(table.read_text("utf-8").splitlines(keepends=True)[:-1])
    networks = [(8, "pppp", 0), (24, "cprs", 0)]
    assert generate(table, networks) == 1
    assert generate(table, networks) == 0
    assert table.read_text("utf-8").startswith(before)
    last = list(read_digits(table))[-1]
    assert last[:3] == networks[1]
    assert 0 < (last.fitness or 0) <= 1 and last.cpu_seconds > 0 and last.flops > 0
    assert len(network(8, "cprs").layers) == 6


def test_each_seed_has_a_landscape_of_its_own_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--landscapes", "cell", "digits", "--optimizers", "random search", "--evaluations", "100"]

    def printed(*more: str) -> str:
        assert main([*asked, "--workers", "1", "--seeds", "3", *more]) == 0
        return capsys.readouterr().out

    assert "digits: skipped, there is only one such landscape" in printed("--each")
    truths = [simulate(RandomSearch, Cell(seed + 1), 100, 1, seed).value_at(100) for seed in range(3)]
    regrets = np.array([Cell(seed + 1).best - truth for seed, truth in enumerate(truths)])
    assert f"{regrets.mean():.5f}" in printed("--each")
    assert f"{regrets.mean():.5f}" not in printed()
