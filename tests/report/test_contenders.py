"""Contenders: their standing over the seeds, which one to take, and the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.report.conclusion import findings
from menndl_dask.report.contenders import (
    Ranking,
    contender_table,
    contender_text,
    contender_title,
    cost_table,
    cost_title,
    rankings,
    recommended,
    search_cost,
    standings,
)
from menndl_dask.report.report import write_report
from menndl_dask.result import Result
from menndl_dask.run.recorder import STANDARD_ID, Compared
from tests.problems import problem
from tests.runs import finished, made_up

OF = problem()


def trained(name: str, kernels: int, fitness: list[float], factor: float = 4.0) -> list[Compared]:
    """Return trainings of a network that gets the worse on the test split, the more kernels it has."""
    individual = Individual(kernels, Genome((Convolution(kernels),)))
    return [
        Compared(
            name, individual, factor,
            Result(value, metrics={"test_accuracy": value - kernels / 1000},
                   costs={"parameters": 10.0 * kernels, "flops_forward": 1e3 * kernels, "latency_ms": 2.0 - seed}),
            seed,
        )
        for seed, value in enumerate(fitness)
    ]  # fmt: skip


LARGE = trained("ResNet-50", 100, [0.90, 0.94, 0.92])
NEAR = trained("network 7", 10, [0.91, 0.912, 0.914])
POOR = trained("LeNet-5", 5, [0.70, 0.71, 0.72])


def test_of_networks_within_one_standard_error_the_cheapest_is_taken() -> None:
    found = standings([*LARGE, *NEAR, *POOR], OF)
    assert [standing.name for standing in found] == ["ResNet-50", "network 7", "LeNet-5"]
    best, taken = found[0], recommended(found)
    assert round(best.standard_error, 4) == 0.0115
    assert taken is not None
    assert taken.name == "network 7"
    assert "To take: network 7, the one with the fewest FLOPs within one standard error of the best, ResNet-50." in (
        contender_text(Ranking(found, OF))
    )
    clear = standings([*trained("ResNet-50", 100, [0.95, 0.951, 0.952]), *NEAR], OF)
    assert "To take: ResNet-50, the best on the validation split." in contender_text(Ranking(clear, OF))


def test_the_test_split_decides_nothing() -> None:
    swapped = [*trained("better on test", 1, [0.5, 0.5, 0.5]), *POOR]
    found = recommended(standings(swapped, OF))
    assert found is not None
    assert found.name == "LeNet-5"


def test_the_table_has_means_with_their_spread_and_errors() -> None:
    table = str(contender_table(Ranking(standings([*NEAR, *POOR], OF), OF)))
    head, first, _ = table.splitlines()
    titles = ["network", "trainings", "validation accuracy", "test accuracy", "test error", "parameters", "FLOPs"]
    assert " ".join(head.split()) == " ".join(titles)
    assert "network 7" in first
    assert "0.9120 ± 0.002" in first
    assert "0.9020 ± 0.002" in first
    assert "0.0980 ± 0.002" in first
    costs = str(cost_table(Ranking(standings([*NEAR, *POOR], OF), OF)))
    assert costs.splitlines()[0].split() == ["network", "latency"]
    assert "0 ms" in costs.splitlines()[1]  # the fastest of three


def test_failures_are_counted_and_told_and_another_budget_is_another_comparison() -> None:
    failed = Compared("VGG-16", LARGE[0].individual, 4.0, Result.failed("out_of_memory", "2 GB"), 0)
    found = standings([*trained("old", 7, [0.99], factor=2.0), *POOR, failed], OF)
    assert [standing.name for standing in found] == ["LeNet-5", "VGG-16"]
    assert "0 of 1" in str(contender_table(Ranking(found, OF)))
    assert "VGG-16: out_of_memory (2 GB)." in contender_text(Ranking(found, OF))
    assert contender_text(Ranking(standings([failed], OF), OF)) == "VGG-16: out_of_memory (2 GB)."
    assert "4 times the budget of the search" in contender_title(Ranking(found, OF))


def test_report_and_terminal_show_what_the_journal_has(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(12), OF)
    for compared in [*LARGE, *NEAR, *LARGE]:
        run.compare(compared)
    assert [(c.name, c.seed) for c in run.contenders] == [(c.name, c.seed) for c in [*LARGE, *NEAR]]
    assert run.comparisons == []
    text = "\n".join(map(str, findings(run)))
    assert "To take: network 7" in text
    page = write_report(run).read_text()
    assert "To take: network 7" in page
    assert "test error" in page


def test_differences_to_the_best_standard_network_have_intervals_and_say_what_was_drawn(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(12), OF)
    standard = [replace(each, individual=replace(each.individual, id=STANDARD_ID)) for each in LARGE]
    for each in [*standard, *NEAR]:
        run.compare(each)
        path = each.sums_path(run.path)
        path.parent.mkdir(exist_ok=True)
        right = np.arange(20) < (14 if each.name == "network 7" else 10)
        np.savez(path, sums=np.stack([right, np.ones(20), np.ones(20)], axis=1)[..., None], source=np.arange(20))
    (ranking,) = rankings(run)
    assert ranking.reference is not None
    assert ranking.reference.name == "ResNet-50"
    assert list(ranking.differences) == ["network 7"]
    table = str(contender_table(ranking))
    assert "difference, 95 %" in table
    assert "+0.2000 (+0.0" in table
    assert "drawn over 20 parts and the seeds" in contender_title(ranking)
    np.savez(run.path / "test_groups.npz", number=np.arange(20) // 4, name=np.array("scene"))
    (by_scene,) = rankings(run)
    assert "drawn over 5 scenes and the seeds, which are few: the interval is too narrow" in contender_title(by_scene)


def test_costs_that_were_measured_alone_come_with_a_word_on_how_busy_the_machine_was(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", [(i, replace(r, times={"total": 1800.0})) for i, r in made_up(4)], OF)
    for each in [*NEAR, *POOR]:
        more = {"memory_bytes": 5e8, "framework_bytes": 4e8, "train_seconds": 60.0}
        run.compare(replace(each, result=replace(each.result, costs={**each.result.costs, **more})))
    alone = {"latency_ms": 0.5, "samples_per_s": 4000.0, "inference_bytes": 2.0**20, "busy_share": 0.02}
    run.measure(NEAR[0].individual, alone)
    (ranking,) = rankings(run)
    first = str(cost_table(ranking)).splitlines()[1]
    assert all(text in first for text in ("0.5 ms", "4.00 k", "1.00 MiB", "95.4 MiB", "1 min"))
    assert cost_title(ranking).startswith(
        "What predictions cost, each network measured alone after all trainings; memory"
    )
    run.measure(NEAR[0].individual, alone | {"busy_share": 0.62})
    assert "not on an idle machine: other processes took up to 62% of its cores" in cost_title(rankings(run)[0])
    assert search_cost(run) == "The search took 2 h of workers for 4 networks."


def test_each_budget_has_its_own_table(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(12), OF)
    for each in [*NEAR, *trained("network 7", 10, [0.8, 0.8], factor=1.0)]:
        run.compare(each)
    assert [(c.factor, c.standings[0].name) for c in rankings(run)] == [(1.0, "network 7"), (4.0, "network 7")]
