"""Contenders: their standing over the seeds, which one to take, and the table."""

from __future__ import annotations

from pathlib import Path

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.report.conclusion import findings
from menndl_dask.report.contenders import contender_table, contender_text, contender_title, recommended, standings
from menndl_dask.report.report import write_report
from menndl_dask.result import Result
from menndl_dask.run.recorder import Compared
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
        contender_text(found)
    )
    clear = standings([*trained("ResNet-50", 100, [0.95, 0.951, 0.952]), *NEAR], OF)
    assert "To take: ResNet-50, the best on the validation split." in contender_text(clear)


def test_the_test_split_decides_nothing() -> None:
    swapped = [*trained("better on test", 1, [0.5, 0.5, 0.5]), *POOR]
    found = recommended(standings(swapped, OF))
    assert found is not None
    assert found.name == "LeNet-5"


def test_the_table_has_means_with_their_spread_and_errors() -> None:
    table = str(contender_table(standings([*NEAR, *POOR], OF), OF))
    head, first, _ = table.splitlines()
    titles = ["network", "trainings", "accuracy", "test accuracy", "test error", "parameters", "FLOPs", "latency"]
    assert " ".join(head.split()) == " ".join(titles)
    assert "network 7" in first
    assert "0.9120 ± 0.002" in first
    assert "0.9020 ± 0.002" in first
    assert "0.0980 ± 0.002" in first
    assert "0 ms" in first or "0.0" in first  # the fastest of three


def test_failures_are_counted_and_told_and_another_budget_is_another_comparison() -> None:
    failed = Compared("VGG-16", LARGE[0].individual, 4.0, Result.failed("out_of_memory", "2 GB"), 0)
    found = standings([*trained("old", 7, [0.99], factor=2.0), *POOR, failed], OF)
    assert [standing.name for standing in found] == ["LeNet-5", "VGG-16"]
    assert "0 of 1" in str(contender_table(found, OF))
    assert "VGG-16: out_of_memory (2 GB)." in contender_text(found)
    assert contender_text(standings([failed], OF)) == "VGG-16: out_of_memory (2 GB)."
    assert "4 times the budget of the search" in contender_title(found)


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
