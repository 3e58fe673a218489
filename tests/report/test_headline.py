"""The headline: one sentence about the test split, never about the best fitness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from menndl_dask.evaluation.simple_scores import SimpleScore
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution
from menndl_dask.report.bootstrap import Difference
from menndl_dask.report.conclusion import findings
from menndl_dask.report.headline import OnTest, Scored, headline, headline_of, sentence
from menndl_dask.result import Result
from menndl_dask.run.recorder import STANDARD_ID, Compared
from menndl_dask.run.run import Run
from tests.problems import problem
from tests.runs import finished, made_up

OF = problem("segmentation", ((32, 32, 1),))
OWN = Scored("network 7", 7, 0.665, 0.030, {"parameters": 1e5, "flops_forward": 1e7})
OTHER = Scored("U-Net, small", -1, 0.669, 0.035, {"parameters": 2.9e5, "flops_forward": 1.1e7})


def between(low: float, high: float) -> Difference:
    return Difference((low + high) / 2, low, high, 0.03, 0.035)


def test_a_difference_that_is_not_certain_is_none() -> None:
    assert sentence(OnTest(OWN, OTHER, between(-0.02, 0.01)), OF) == (
        "network 7 is as accurate as the small U-Net (mean IoU 0.665 ± 0.030 against 0.669 ± 0.035 on test) with 2.9 "
        "times fewer parameters and 1.1 times fewer FLOPs"
    )


@pytest.mark.parametrize(
    ("low", "high", "mode", "told"),
    [
        (0.01, 0.02, "max", "is more accurate than"),
        (-0.02, -0.01, "max", "is less accurate than"),
        (0.01, 0.02, "min", "is less accurate than"),
        (-0.02, -0.01, "min", "is more accurate than"),
    ],
)
def test_a_certain_difference_is_told_in_the_direction_of_the_metric(
    low: float, high: float, mode: str, told: str
) -> None:
    assert told in sentence(OnTest(OWN, OTHER, between(low, high)), replace(OF, metric_mode=mode))


def test_a_better_network_is_told_with_how_much_less_error_it_has_and_what_it_costs_more() -> None:
    own = replace(OWN, score=0.975, costs={"parameters": 2.9e5, "flops_forward": 4.4e7})
    text = sentence(OnTest(own, replace(OTHER, score=0.95), between(0.02, 0.03)), OF)
    assert "on test, 50% less error) with as many parameters and 4.0 times more FLOPs" in text


@pytest.mark.parametrize(
    ("constant", "told"),
    [
        (0.5, " fewer FLOPs"),
        (0.61, " fewer FLOPs; neither is clearly better than a constant prediction"),  # within two standard errors
    ],
)
def test_what_is_no_better_than_a_constant_prediction_is_said(constant: float, told: str) -> None:
    of = replace(OF, facts=replace(OF.facts, constant_fitness=constant))
    assert sentence(OnTest(OWN, replace(OTHER, error=0.04), between(-0.02, 0.01)), of).endswith(told)
    poor = sentence(OnTest(replace(OWN, score=0.5), OTHER, between(-0.2, -0.1)), of)
    assert poor.endswith("; it is not clearly better than a constant prediction") == (constant == 0.5)


@pytest.mark.parametrize(("score", "mode", "is_told"), [(0.70, "max", True), (0.69, "max", False), (0.6, "min", True)])
def test_a_predictor_that_is_no_network_is_told_where_it_is_better_by_more_than_the_error(
    score: float, mode: str, is_told: bool
) -> None:
    found = OnTest(OWN, OTHER, between(-0.02, 0.01), simple=SimpleScore("a random forest of coarse images", score))
    text = sentence(found, replace(OF, metric_mode=mode))
    assert text.endswith(f"; a random forest of coarse images is more accurate: {score:.4f}") == is_told


def test_without_an_interval_neither_is_called_better() -> None:
    assert "network 7 is beside the small U-Net (mean IoU 0.665" in sentence(OnTest(OWN, OTHER, None), OF)


def trained(
    name: str, number: int, kernels: int, test: float, seed: int | None = None, fitness: float = 0.5
) -> Compared:
    costs = {"parameters": 10.0 * kernels, "flops_forward": 1e3 * kernels}
    result = Result(fitness, costs=costs, metrics={"test_mean_iou": test, "test_mean_iou_error": 0.01})
    return Compared(name, Individual(number, Genome((Convolution(kernels),))), 2.0, result, seed)


def keep_sums(run: Run, compared: Compared, right: float) -> None:
    """Keep the scores of 30 samples of 100 pixels, of which a share is right."""
    path = compared.sums_path(run.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    hits = 100 * np.clip(right + np.random.default_rng(0).normal(0, 0.1, 30), 0, 1)
    sums = np.stack([hits, np.full(30, 100.0), np.full(30, 100.0)], axis=1)[..., None]
    np.savez(path, sums=sums, source=np.arange(30))


def test_a_search_that_is_not_tested_says_so_and_what_does_it(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(12), OF)
    assert headline(run) == f"not tested yet; a search does so when it ends, menndl retrain {run.path} at any time"
    assert str(findings(run)[0]).startswith("Conclusion: not tested yet")
    assert headline(finished(tmp_path / "empty", [], OF)) == "not tested yet; no network has been evaluated so far"


def test_the_comparison_at_the_end_of_a_search_is_its_headline(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(12), OF)
    run.compare(trained("network 3 (budget × 2)", 3, 10, 0.70))
    run.compare(trained("U-Net, small (budget × 2)", STANDARD_ID, 30, 0.69))
    assert headline(run).startswith("network 3 is as accurate as the small U-Net (mean IoU 0.700 ± 0.010 against 0.690")
    for each, right in zip(run.alike, (0.70, 0.69), strict=True):
        keep_sums(run, each, right)
    assert headline(run).startswith("network 3 is more accurate than the small U-Net")  # on every image
    assert str(findings(run)[0]) == f"Conclusion: {headline(run)}."
    assert "on test, each trained once, " in headline(run)
    assert "The evolved network is better by 0." in "".join(map(str, findings(run)))
    assert "best.keras" in headline(run)  # of equals on the validation split it is the standard network


def test_the_headline_says_so_where_the_validation_split_chooses_the_standard_network(tmp_path: Path) -> None:
    for fitness, is_said in ((0.4, True), (0.6, False)):
        run = finished(tmp_path / str(is_said), made_up(12), OF)
        run.compare(trained("network 3 (budget × 2)", 3, 10, 0.70, fitness=fitness))
        run.compare(trained("U-Net, small (budget × 2)", STANDARD_ID, 30, 0.69, fitness=0.5))
        said = "; by the validation split best.keras is the small U-Net"
        assert headline(run).endswith(said) is is_said


def test_a_comparison_with_several_seeds_is_taken_first_and_its_network_is_chosen_by_validation(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(12), OF)
    run.compare(trained("network 3 (budget × 2)", 3, 10, 0.70))
    for seed in range(3):
        run.compare(trained("network 3", 3, 10, 0.60, seed, fitness=0.6 + seed / 100))
        run.compare(trained("network 4", 4, 12, 0.99, seed, fitness=0.4))
        run.compare(trained("random network 0", 0, 14, 0.80, seed, fitness=0.9))
        run.compare(trained("U-Net, small", STANDARD_ID, 30, 0.65, seed, fitness=0.5))
        run.compare(trained("FCN-8s", STANDARD_ID, 40, 0.95, seed, fitness=0.4))
    assert headline(run).startswith("network 3 is beside the small U-Net (mean IoU 0.6000 against 0.6500 on test)")
    for each in run.contenders:
        keep_sums(run, each, 0.5 if each.is_standard else 0.6)
    assert headline(run).startswith("network 3 is more accurate than the small U-Net (mean IoU 0.600 ±")


def test_a_comparison_with_one_seed_says_that_each_was_trained_once(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", made_up(12), OF)
    for seed in range(2):
        run.compare(trained("network 3", 3, 10, 0.70, seed, fitness=0.6))
        run.compare(trained("U-Net, small", STANDARD_ID, 30, 0.65, seed, fitness=0.5))
        for each in run.contenders:
            keep_sums(run, each, 0.5 if each.is_standard else 0.6)
        assert ("on test, each trained once, " in headline(run)) is (seed == 0)


def test_the_standard_network_is_no_network_that_a_search_has_found(tmp_path: Path) -> None:
    # as `--retrain 0` leaves it where the best network is the one that the search began with
    run = finished(tmp_path / "run", made_up(12), OF)
    given = replace(trained("network 0", 0, 30, 0.61), factor=0.0)
    run.compare(given)
    run.compare(replace(trained("U-Net, small", STANDARD_ID, 30, 0.60), factor=1.0))
    told = "the search found no network that is better than the small U-Net, mean IoU 0.610 ± 0.010 on test"
    assert headline_of([given, trained("U-Net, small", STANDARD_ID, 30, 0.60)], OF) == told
    assert "evolved network is" not in "".join(map(str, findings(run)))


def test_a_network_without_a_standard_one_beside_it_has_its_score() -> None:
    assert headline_of([trained("network 3", 3, 10, 0.7)], OF) == "network 3: mean IoU 0.700 ± 0.010 on test"
    assert headline_of([], OF) == ""
