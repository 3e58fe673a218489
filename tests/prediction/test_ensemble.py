"""The networks of an ensemble, and the axes along which images are flipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from menndl_dask.errors import UserError
from menndl_dask.genome.individual import Individual
from menndl_dask.prediction.ensemble import best_networks, flips_of, run_of
from menndl_dask.prediction.model_process import _Predictor
from menndl_dask.result import Result
from menndl_dask.run.recorder import Compared
from menndl_dask.run.run import Run
from tests import runs
from tests.problems import problem


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run whose networks 1, 2 and 3 were kept, and 1 and 2 were trained for longer."""
    of = problem("segmentation", augmentation=("flip=x",))
    of = replace(of, facts=replace(of.facts, constant_fitness=0.1))
    found = runs.made_up(5)
    told = [(individual, Result(0.1 * individual.id)) for individual, _ in found]
    run = runs.finished(tmp_path / "run", told, of)
    for number, factor, fitness in ((1, 4.0, 0.6), (2, 4.0, 0.5), (2, 2.0, 0.9)):
        run.compare(Compared(f"network {number}", told[number][0], factor, Result(fitness)))
    standard = Individual(-1, told[0][0].genome)
    run.compare(Compared("standard", standard, 4.0, Result(0.99)))
    for number in (1, 2, 3):
        folder = run.path / "networks" / told[number][0].name
        folder.mkdir(parents=True)
        (folder / "network.keras").touch()
        if number < 3:
            (folder / "trained-4.keras").touch()
    return Run(run.path)


def test_an_ensemble_has_the_best_networks_as_they_were_trained_last(run: Run) -> None:
    paths, notes = best_networks(run, 2)
    names = [(path.parent.name, path.name) for path in paths]
    assert names == [("00000001", "trained-4.keras"), ("00000002", "trained-4.keras")] and not notes
    paths, notes = best_networks(run, 3)  # of network 3 the fitness is 0.3, that of the constant predictor is 0.1
    assert len(paths) == 2 and notes == ("ensemble: network 3 is left out: fitness 0.3000, of the best 0.6000",)
    message = "ensemble: expected 1 to 3, the trained networks that .*run has, got"
    for count in (0, 4):
        with pytest.raises(UserError, match=f"{message} {count}"):
            best_networks(run, count)


def test_the_run_around_a_network_is_found(run: Run, tmp_path: Path) -> None:
    ((network,), _) = best_networks(run, 1)
    for path in (network, run.path / "best.keras", run.path):
        found = run_of(path)
        assert found is not None and found.path == run.path
    assert run_of(tmp_path / "elsewhere.keras") is None


def test_images_are_flipped_along_axes_that_are_named_or_were_flipped_in_training(run: Run) -> None:
    assert flips_of(2, True, run.problem) == (1,)
    assert flips_of(3, ["z", "x"], None) == (0, 2)
    assert flips_of(2, False, None) == ()
    with pytest.raises(UserError, match="flips: expected axes among y, x, got z"):
        flips_of(2, ["z"], run.problem)
    with pytest.raises(UserError, match="flips: expected axes such as y x, as the network was not trained with flips"):
        flips_of(2, True, problem())


class _Ramp:
    """Stands in for a network: weighs the pixels along x from left to right."""

    def __init__(self, factor: float, *, of_pixels: bool) -> None:
        self._factor, self._of_pixels = factor, of_pixels

    def predict_on_batch(self, images: Any) -> np.ndarray:
        weighed = images * self._factor * np.arange(images.shape[2])[:, np.newaxis]
        return weighed if self._of_pixels else weighed.sum(axis=(1, 2))


@pytest.mark.parametrize("of_pixels", [True, False])
def test_the_predictions_of_all_networks_for_all_flips_are_averaged(of_pixels: bool) -> None:
    predictor = _Predictor()
    predictor._models = [_Ramp(1.0, of_pixels=of_pixels), _Ramp(3.0, of_pixels=of_pixels)]
    image = np.random.default_rng(0).normal(size=(2, 3, 5, 1))
    found = predictor._predict([image], [(), (1,), (0,), (0, 1)])
    # with its mirror image each ramp weighs all pixels by 2, half of the largest weight
    expected = image * 2.0 * 2.0
    assert found == pytest.approx(expected if of_pixels else expected.sum(axis=(1, 2)))
