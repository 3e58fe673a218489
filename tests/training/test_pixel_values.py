"""A network learns a value for each pixel, in the user's unit, and is scored on whole images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.data.staged_images import StagedImage
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.layers import Convolution, Pooling
from menndl_dask.metric import Measure
from menndl_dask.problem import Budget, Facts, Patches, Problem
from menndl_dask.report.pictures.examples import sample_pictures
from menndl_dask.training.loss import Loss, constant_losses, loss_minimising_constant
from menndl_dask.training.scoring.examples import Examples
from menndl_dask.training.scoring.scorer import make_scorer
from tests.problems import problem
from tests.training.test_whole_images import _trained

BUDGET = Budget(epochs=4, batch_size=8, learning_rate=1e-2, early_stopping=False, rungs=())


def _problem(size: int = 16, **settings: Any) -> Problem:
    of = problem("regression", ((size, size, 1),), outputs=1, budget=BUDGET, **settings)
    facts: Facts = replace(of.facts, pixel_values=True, label_mean=(2e-9,), label_variance=(1e-18,))
    return replace(of, facts=facts)


def test_a_head_answers_for_each_pixel_in_the_users_unit() -> None:
    of = _problem()
    for genome in (Genome((Convolution(4),)), Genome((Convolution(4), Pooling(), Convolution(4)))):
        model = decode(genome, of)
        assert model.output_shape == (None, 16, 16, 1)
        assert cost_of(genome, of).parameters == model.count_params() - sum(
            w.shape.num_elements() for w in model.non_trainable_weights
        )
        values = np.asarray(model(np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype("float32")))
        assert abs(float(values.mean()) - 2e-9) < 3e-9


def test_the_loss_and_the_metric_compare_maps_with_predictions_that_have_a_channel() -> None:
    of, labels = _problem(), np.random.default_rng(0).normal(2e-9, 1e-9, (4, 16, 16)).astype("float32")
    loss = Loss(of)
    shifted = labels[..., None] + np.float32(1e-9)
    assert float(loss.call(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(shifted))) == pytest.approx(
        1.0, rel=1e-3
    )
    constant = loss_minimising_constant(of, [labels])
    assert constant_losses(of, loss, constant, [labels])[0] == pytest.approx(float(labels.var() / 1e-18), rel=1e-2)
    measure = Measure("r2", outputs=1)
    measure.update(labels, labels[..., None])
    assert measure.value() == 1.0


def test_pixels_without_a_value_count_neither_in_the_loss_nor_in_the_score() -> None:
    of, rng = _problem(), np.random.default_rng(0)
    labels = rng.normal(2e-9, 1e-9, (4, 16, 16)).astype("float32")
    found = labels[..., None] + rng.normal(0, 1e-9, (4, 16, 16, 1)).astype("float32")
    holes = labels.copy()
    holes[:, :5] = np.nan
    tensors = keras.ops.convert_to_tensor(holes), keras.ops.convert_to_tensor(found)
    expected = float(np.mean((found[..., 0] - labels)[:, 5:].astype("float64") ** 2)) / 1e-18
    assert float(Loss(of).call(*tensors)) == pytest.approx(expected, rel=1e-3)
    nothing = keras.ops.convert_to_tensor(np.full_like(holes, np.nan))
    assert float(Loss(of).call(nothing, tensors[1])) == 0.0
    for name in ("r2", "mean_squared_error", "mean_absolute_error"):
        whole, part = Measure(name, outputs=1), Measure(name, outputs=1)
        whole.update(labels[:, 5:].reshape(-1, 1), found[:, 5:].reshape(-1, 1))
        part.update(holes, found)
        assert part.value() == pytest.approx(whole.value())
    of_keras = make_scorer(replace(of, metric="mean_absolute_percentage_error"))
    of_keras.update(holes, found)
    error = np.abs(found[:, 5:, :, 0] - labels[:, 5:]) / np.maximum(np.abs(labels[:, 5:]), 1e-7)
    assert of_keras.value() == pytest.approx(100 * float(error.mean()), rel=1e-3)
    examples = Examples(of, 4)
    examples.update(np.arange(4), holes, found, lambda: np.zeros((4, 16, 16, 1)))
    assert np.isfinite(examples.arrays()["score"]).all()


def test_a_network_learns_maps_from_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    splits = {}
    for split, number in (("train", 3), ("validation", 2), ("test", 2)):
        values = [rng.normal(0, 1, (40 + 5 * n, 50)).astype("float32") for n in range(number)]
        maps = [(2e-9 + 1e-9 * each).astype("float32") for each in values]
        splits[split] = [StagedImage((v[..., None],), m) for v, m in zip(values, maps, strict=True)]
    found = _trained(
        monkeypatch, _problem(patches=Patches((16, 16), per_epoch=256)), Genome((Convolution(4),)), splits
    )
    assert found["metrics"]["r2"] > 0.7
    assert found["metrics"]["test_r2"] > 0.7


def test_pixels_of_maps_are_compared_on_the_page() -> None:
    of = _problem()
    examples = Examples(of, 3)
    labels = np.random.default_rng(0).normal(2e-9, 1e-9, (3, 16, 16)).astype("float32")
    examples.update(np.arange(3), labels, labels[..., None] + 1e-9, lambda: np.zeros((3, 16, 16, 1)))
    found = examples.arrays()
    np.testing.assert_allclose(found["score"], -1.0, rtol=1e-3)
    assert found["truth"].shape == found["guess"].shape == (78, 1)
    assert found["label0"].shape == (1,)
    assert found["image0"].shape == (16, 3 * 16 + 2 * 4)
    kept = labels[int(found["unit"][0])]
    levels = 255 * (kept - kept.min()) / np.ptp(kept)
    np.testing.assert_allclose(found["image0"][:, 20:36], levels, atol=0.51)
    page = sample_pictures(found, of)
    assert page.count("<img") == 3 and "its true and its predicted map" in page
