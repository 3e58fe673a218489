"""The conclusion: which network wins a comparison, and what is text about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from menndl_dask.evaluation.simple_scores import FILE
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.report.conclusion import conclude, findings, fittest, shortfall, winner
from menndl_dask.report.model_card import model_card
from menndl_dask.report.report import write_report
from menndl_dask.result import Result
from menndl_dask.run.recorder import STANDARD_ID, Compared
from tests.problems import problem
from tests.runs import finished, made_up

FINALISTS = [e for e in made_up(12) if e[1].succeeded][:2]


def compared(number: int, fitness: float | None, test: float = 0.5, factor: float = 4.0) -> Compared:
    """Return a network that was trained for comparison."""
    costs = {"parameters": 1000.0, "flops_forward": 2e6}
    metrics = {"test_accuracy": test}
    result = Result(fitness, costs=costs, metrics=metrics) if fitness else Result.failed("diverged", "NaN")
    name = "ResNet, small" if number == STANDARD_ID else f"network {number}"
    genome = Genome((Convolution(7),)) if number == STANDARD_ID else FINALISTS[0][0].genome
    return Compared(name, Individual(number, genome), factor, result)


def test_a_search_that_found_nothing_but_the_standard_network_says_so() -> None:
    assert "no network that works, apart from the standard one" in conclude([compared(STANDARD_ID, 0.9)], problem())


def test_where_all_networks_fail_the_most_frequent_message_of_each_kind_is_told(tmp_path: Path) -> None:
    genome = FINALISTS[0][0].genome
    messages = "module 'areas' has no 'shar'", "another", "module 'areas' has no 'shar'"
    results = [*(Result.failed("error", message) for message in messages), Result.failed("timed_out", "60 s")]
    run = finished(tmp_path / "run", [(Individual(i, genome), result) for i, result in enumerate(results)])
    (text,) = findings(run)
    assert "  3 × error: module 'areas' has no 'shar' (2 of them)\n  1 × timed_out: 60 s" in str(text)
    assert "look at the data" not in str(text)


def test_the_last_line_of_a_search_without_an_outcome_is_the_reason_in_the_journal(tmp_path: Path) -> None:
    genome = FINALISTS[0][0].genome
    failed = [(Individual(i, genome), Result.failed("error", "No module named 'my_metric'")) for i in range(3)]
    run = finished(tmp_path / "failed", failed)
    assert shortfall(run) == "all 3 networks failed: 3 × error: No module named 'my_metric'"
    assert shortfall(finished(tmp_path / "empty", [])) == "no network has been evaluated"
    saved = finished(tmp_path / "saved", [(Individual(0, genome), Result(0.5, message="not saved: disk full"))])
    assert shortfall(saved) == "the best network, 0, was not saved: not saved: disk full"
    (saved.path / "best.keras").touch()
    assert shortfall(saved) is None
    saved.compare(compared(0, None))
    assert shortfall(saved) == "could not be retrained: network 0: diverged (NaN)"


def test_what_is_no_network_stands_beside_the_networks_in_terminal_and_report(tmp_path: Path) -> None:
    of = problem()
    run = finished(tmp_path / "run", made_up(12), of)
    (run.path / FILE).write_text('{"metric": "accuracy", "test": {"a random forest of coarse images": 0.93}}')
    scored = "scored on the test split (accuracy): a random forest of coarse images 0.9300."
    assert scored not in "".join(map(str, findings(run)))  # no network is tested yet
    for each in (compared(FINALISTS[0][0].id, 0.8), compared(STANDARD_ID, 0.7)):
        run.compare(each)
    texts = list(map(str, findings(run)))
    assert any(text.endswith(scored) for text in texts)
    assert texts[0].endswith("; a random forest of coarse images is more accurate: 0.9300.")
    assert scored in write_report(run).read_text()
    (run.path / "best.keras").touch()
    assert scored in model_card(run, of, run.path / "best.keras")


def test_the_winner_is_chosen_by_validation_and_never_by_test_data() -> None:
    alike = [compared(3, 0.8, test=0.1), compared(5, 0.7, test=0.9), compared(STANDARD_ID, 0.95), compared(7, None)]
    best = winner(alike)
    assert best is not None
    assert best.individual.id == 3
    assert winner([compared(STANDARD_ID, 0.9), compared(1, None)]) is None


def test_the_fittest_network_is_the_standard_one_where_no_other_is_better() -> None:
    alike = [compared(3, 0.8, test=0.99), compared(STANDARD_ID, 0.95), compared(7, None)]
    assert fittest(alike) == alike[1]
    assert fittest([compared(3, 0.95), alike[1]]) == alike[1]  # of equals
    assert fittest([compared(3, 0.96), alike[1]]) == compared(3, 0.96)
    assert fittest([compared(7, None)]) is None


def test_the_conclusion_gives_both_scores() -> None:
    expected = conclude([compared(3, 0.8, 0.71), compared(STANDARD_ID, 0.9, 0.75)], problem())
    assert "network 3 reaches accuracy 0.7100 with 1.00 k parameters and 2.00 M FLOPs" in expected
    assert "ResNet, small reaches accuracy 0.7500" in expected


@pytest.mark.parametrize(
    ("test", "error", "expected"),
    [
        (0.9, 0.02, "The evolved network is better by 0.1500 ± 0.028. Each was trained once: "),
        (0.6, 0.02, "The evolved network is worse by 0.1500 ± 0.028. Each was trained once: "),
        (0.78, 0.02, "The difference is not significant: 0.0300 ± 0.028."),
    ],
)
def test_the_conclusion_says_whether_the_difference_is_significant(test: float, error: float, expected: str) -> None:
    ours, standard = compared(3, 0.8, test), compared(STANDARD_ID, 0.9, 0.75)
    for each in (ours, standard):
        assert isinstance(each.result.metrics, dict)
        each.result.metrics["test_accuracy_error"] = error
    text = conclude([ours, standard], problem())
    assert expected in text
    assert f"network 3 reaches accuracy {test:.4f} ± {error:.2g} with" in text


def test_without_standard_errors_no_network_is_called_better() -> None:
    ours, standard = compared(3, 0.8, 1.0), compared(STANDARD_ID, 0.9, 0.75)
    for each, error in ((ours, 0.0), (standard, 0.02)):
        assert isinstance(each.result.metrics, dict)
        each.result.metrics["test_accuracy_error"] = error
    text = conclude([ours, standard], problem())
    assert "network 3 reaches accuracy 1.0000 with" in text
    assert "±" not in text.partition(";")[0]
    assert "better" not in text


def test_the_conclusion_respects_a_metric_where_smaller_is_better() -> None:
    ours, standard = compared(3, 0.8, 0.2), compared(STANDARD_ID, 0.9, 0.75)
    for each in (ours, standard):
        assert isinstance(each.result.metrics, dict)
        each.result.metrics["test_accuracy_error"] = 0.01
    assert "is better" in conclude([ours, standard], replace(problem(), metric_mode="min"))


def test_the_conclusion_names_failed_trainings() -> None:
    assert "ResNet, small could not be trained: diverged (NaN)" in conclude(
        [compared(3, 0.8), compared(STANDARD_ID, None)], problem()
    )
    assert "No evolved network could be retrained: network 3: diverged (NaN)" in conclude(
        [compared(3, None)], problem()
    )
