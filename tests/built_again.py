"""Models that are encoded with random weights and built again: both must predict the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import Encoded, encode, read_network
from menndl_dask.problem import Problem
from tests.problems import problem


def randomise(model: keras.Model) -> None:
    """Give all weights random values, the moving statistics too."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.rpartition("/")[2] not in ("mean", "variance", "count"):  # of the normalisation of images
            value = np.asarray(weight.numpy())
            positive = weight.path.endswith("variance")
            weight.assign(rng.uniform(0.8, 1.2, value.shape) if positive else value + rng.normal(0, 0.1, value.shape))


def problem_of(model: keras.Model, encoded: Encoded) -> Problem:
    """Return a problem whose normalisation is that of the model's first layers."""
    shapes = tuple(tuple(tensor.shape[1:]) for tensor in model.inputs)
    answer = model.output_shape[1:]
    ends = encoded.weights.function if encoded.weights is not None else "softmax"
    task = "segmentation" if len(answer) > 1 else "regression" if ends == "linear" else "classification"
    outputs = 2 if ends == "sigmoid" and answer[-1] == 1 else answer[-1]
    of = problem(task, shapes, outputs)
    mean, variance = [], []
    for (scale, offset), shape in zip(encoded.scales, shapes, strict=True):
        scale, offset = (np.broadcast_to(np.asarray(each, float), shape[-1:]) for each in (scale, offset))
        mean.append(tuple((-offset / scale).tolist()))
        variance.append(tuple((1 / scale**2).tolist()))
    return replace(of, facts=replace(of.facts, mean=tuple(mean), variance=tuple(variance)))


def assert_same(model: keras.Model) -> Encoded:
    """Encode a model and build it again; assert that both predict the same, and that it is counted and read again."""
    randomise(model)
    encoded = read_network(model, weights=True)
    of = problem_of(model, encoded)
    again = decode(encoded.genome, of, weights=encoded.weights)
    rng = np.random.default_rng(1)
    images = [rng.normal(size=(2, *shape)).astype("float32") for shape in of.facts.input_shapes]
    first, second = (_answer(each, images) for each in (model, again))
    if first.shape[-1] == 1 and second.shape[-1] == 2:  # a sigmoid is a softmax of two
        first = np.concatenate([1 - first, first], -1)
    assert np.std(first) > 1e-5
    np.testing.assert_allclose(second, first.reshape(second.shape), rtol=1e-5, atol=1e-5)
    assert cost_of(encoded.genome, of).parameters == again.count_params()
    assert encode(again) == encoded.genome
    return encoded


def _answer(model: keras.Model, images: list[np.ndarray]) -> Any:
    return np.asarray(model(images if len(images) > 1 else images[0], training=False))
