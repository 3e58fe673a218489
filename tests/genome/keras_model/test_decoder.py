"""Decoding: genomes of every shape become Keras models that take the data as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from menndl_dask.errors import GenomeError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    Dropout,
    FullyConnected,
    GlobalPooling,
    Pooling,
    Upsampling,
)
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Problem
from menndl_dask.space.standard.standard import standard_network
from tests.kinds import Noise
from tests.problems import PROBLEMS, problem

# Keras itself, when it saves a network
_SAVING = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def _images(of: Problem, number: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(number, *shape)).astype("float32") for shape in of.facts.input_shapes]


def _answer(model: keras.Model, images: list[np.ndarray]) -> np.ndarray:
    return np.asarray(model(images if len(images) > 1 else images[0]))


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_network_answers_in_the_shape_that_its_problem_asks_for(name: str) -> None:
    of = PROBLEMS[name]
    answer = _answer(decode(standard_network(of)[1], of), _images(of))
    outputs = of.facts.outputs
    size = of.facts.input_shapes[0][:-1] if of.task == "segmentation" else ()
    assert answer.shape == (2, *size, outputs)
    if of.task != "regression":
        np.testing.assert_allclose(answer.sum(-1), 1, rtol=1e-4)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_network_without_layers_is_a_linear_model(name: str) -> None:
    model = decode(Genome(()), PROBLEMS[name])
    assert model.count_params() == cost_of(Genome(()), PROBLEMS[name]).parameters
    assert np.isfinite(_answer(model, _images(PROBLEMS[name]))).all()


def test_residual_parallel_and_u_shaped_networks_are_genomes() -> None:
    narrow = Convolution(8)
    residual = Genome((narrow, narrow, Convolution(8, activation="linear"), Activation(inputs=(1, 3), join="add")))
    parallel = Genome((narrow, narrow, Convolution(8, (5,), inputs=(2,)), Activation("linear", inputs=(1, 2, 3))))
    u_shaped = Genome((narrow, Pooling(), narrow, Upsampling(), Convolution(8, inputs=(1, 4))))
    for genome, joint in ((residual, keras.layers.Add), (parallel, keras.layers.Concatenate)):
        model = decode(genome, problem())
        assert sum(isinstance(layer, joint) for layer in model.layers) == 1
    model = decode(u_shaped, problem("segmentation"))
    assert model.output_shape == (None, 16, 16, 3)
    joined = next(layer for layer in model.layers if isinstance(layer, keras.layers.Concatenate))
    assert joined.output.shape[1:] == (16, 16, 16)


def test_every_view_goes_its_own_way_before_they_are_joined() -> None:
    of = PROBLEMS["two views"]
    towers = Genome(
        (
            Convolution(4),
            GlobalPooling(),
            Convolution(6, inputs=(4,)),  # past the first layer: the second view
            GlobalPooling(),
            FullyConnected(5, inputs=(1, 3)),
        )
    )
    model = decode(towers, of)
    first, second = _images(of)
    before = _answer(model, [first, second])
    assert not np.allclose(before, _answer(model, [first + 1, second]))
    assert not np.allclose(before, _answer(model, [first, second + 1]))
    assert [tensor.name for tensor in model.inputs] == ["view_0", "view_1"]


def test_images_are_normalised_inside_of_the_model() -> None:
    raw = problem(shapes=((8, 8, 2),))
    facts = replace(raw.facts, mean=((100.0, 5.0),), variance=((2500.0, 0.0),))
    model = decode(Genome((Convolution(4),)), replace(raw, facts=facts))
    normalised = keras.Model(model.input, model.get_layer("normalisation_image").output)
    image = np.full((1, 8, 8, 2), (150.0, 7.0), "float32")
    # a constant channel is shifted only
    np.testing.assert_allclose(normalised(image)[0, 0, 0], (1.0, 2.0), rtol=1e-5)


def _preprocessed(of: Problem, image: np.ndarray, folder: Path) -> np.ndarray:
    """Return what the genome of a network sees of an image, after Keras has loaded the network."""
    decode(Genome((Convolution(4),)), of).save(folder / "network.keras")
    model = keras.saving.load_model(folder / "network.keras")
    assert {type(layer).__module__.partition(".")[0] for layer in model.layers} == {"keras"}  # none of ours
    assert encode(model) == Genome((Convolution(4),))
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    return np.asarray(keras.Model(model.input, first.input)(image))


@pytest.mark.parametrize(("mean", "deviation"), [(5e-9, 1e-9), (1e4, 3.0), (-2e20, 1e19), (0.0, 1e-30)])
def test_the_unit_of_the_images_does_not_matter(mean: float, deviation: float) -> None:
    raw = problem(shapes=((8, 8, 2),))
    facts = replace(raw.facts, mean=((mean, 0.5),), variance=((deviation**2, 0.25),))
    model = decode(Genome((Convolution(4),)), replace(raw, facts=facts))
    standard = np.random.default_rng(0).normal(size=(1, 8, 8, 1))
    image = np.concatenate([mean + deviation * standard, standard], axis=-1).astype("float32")
    seen = np.asarray(keras.Model(model.input, model.get_layer("normalisation_image").output)(image))
    np.testing.assert_allclose(seen[..., :1], standard, atol=2e-6 * (1 + abs(mean) / deviation))
    np.testing.assert_allclose(seen[..., 1:], 2 * standard - 1, atol=1e-5)
    assert encode(model) == Genome((Convolution(4),))


@_SAVING
def test_values_are_clipped_by_a_network_that_plain_keras_loads(tmp_path: Path) -> None:
    raw = problem(shapes=((2, 2, 2),), normalisation="clip")
    limits = (((1e-9, 3e-9), (100.0, 100.0)),)  # of the second channel all values are equal
    facts = replace(raw.facts, mean=((2e-9, 100.0),), variance=((4e-18, 0.0),), clip=limits)
    values = [[(0.0, 100.0), (1.5e-9, 100.0)], [(3e-9, 100.0), (np.inf, 100.0)]]
    seen = _preprocessed(replace(raw, facts=facts), np.array([values], "float32"), tmp_path)
    np.testing.assert_allclose(seen[0, ..., 0], [[-0.5, -0.25], [0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(seen[0, ..., 1], 0.0, atol=1e-6)


@_SAVING
def test_images_are_seen_as_they_are_where_no_normalisation_is_wanted(tmp_path: Path) -> None:
    raw = problem(shapes=((2, 2, 1),), normalisation="none")
    facts = replace(raw.facts, mean=((7.0,),), variance=((9.0,),))
    image = np.arange(4.0, dtype="float32").reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(_preprocessed(replace(raw, facts=facts), image, tmp_path), image)


def test_a_regression_answers_in_the_users_unit() -> None:
    raw = problem("regression", outputs=1)
    facts = replace(raw.facts, label_mean=(300.0,), label_variance=(100.0,))
    model = decode(Genome(()), replace(raw, facts=facts))
    answer = _answer(model, [np.zeros((1, 16, 16, 1), "float32")])
    np.testing.assert_allclose(answer, [[300.0]], rtol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    genome = Genome((Convolution(8), Dropout(0.5), FullyConnected(8)))
    images = _images(problem())
    first, again, other = (_answer(decode(genome, problem(), seed), images) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_equal_genomes_give_the_same_network_to_the_last_weight() -> None:
    first = Genome((Convolution(8), Convolution(4, (5,), inputs=(2,)), Convolution(6, inputs=(1, 2))))
    second = Genome((Convolution(4, (5,)), Convolution(8, inputs=(2,)), Convolution(6, inputs=(1, 2))))
    assert first == second
    images = _images(problem())
    np.testing.assert_array_equal(_answer(decode(first, problem()), images), _answer(decode(second, problem()), images))


def test_settings_are_not_part_of_the_model() -> None:
    plain, evolved = Genome((Convolution(4),)), Genome((Training(), Convolution(4)))
    assert decode(evolved, problem()).count_params() == decode(plain, problem()).count_params()


def test_a_dense_network_answers_at_full_size_from_half_the_resolution() -> None:
    odd = PROBLEMS["pixels of odd 2-D images"]
    model = decode(Genome((Convolution(4, stride=(2,)), Pooling((3,), (3,)))), odd)
    assert model.output_shape == (None, 21, 13, 3)


@pytest.mark.parametrize("name", ["classes of 2-D images", "numbers of 2-D images", "pixels of odd 2-D images"])
def test_a_network_can_be_trained(name: str) -> None:
    of = PROBLEMS[name]
    model = decode(Genome((Convolution(4, normalisation="batch"),)), of)
    loss = "mse" if of.task == "regression" else "sparse_categorical_crossentropy"
    model.compile("sgd", loss, jit_compile=False, run_eagerly=True)
    shapes = {"regression": (of.facts.outputs,), "classification": (), "segmentation": of.facts.input_shapes[0][:-1]}
    assert np.isfinite(model.train_on_batch(_images(of)[0], np.zeros((2, *shapes[of.task]), int)))


@dataclass(frozen=True, slots=True)
class Liar(Noise):
    """A user's kind whose rules do not hold."""

    def parameter_count(self, shape: tuple[int, ...]) -> int:
        return 7


@dataclass(frozen=True, slots=True)
class Shrinking(Noise):
    """Another one."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], 1)


@dataclass(frozen=True, slots=True)
class Ruleless(Layer):
    """A kind without any rules."""


def test_a_users_kind_is_held_to_its_rules() -> None:
    with pytest.raises(GenomeError, match="gene kind Liar: parameter_count: expected 7 by its rule, got 0 from Keras"):
        decode(Genome((Liar(),)), problem())
    with pytest.raises(GenomeError, match=r"output_shape: expected \(16, 16, 1\) by its rule, got \(16, 16, 4\)"):
        decode(Genome((Convolution(4), Shrinking())), problem())


def test_a_kind_without_rules_is_an_error_that_names_it() -> None:
    with pytest.raises(GenomeError, match="gene kind Ruleless has no rule for its shape"):
        cost_of(Genome((Ruleless(),)), problem())
    for rule in ("parameter_count", "forward_flops"):
        with pytest.raises(GenomeError, match="Ruleless has no rule for its"):
            getattr(Ruleless(), rule)((8,))
    tensor: Any = keras.Input((8,))
    with pytest.raises(GenomeError, match="Ruleless has no rule for its Keras layer"):
        Ruleless().build(tensor, "layer0", lambda: 0)


@pytest.mark.parametrize("task", ["classification", "regression", "segmentation"])
def test_only_the_layers_of_the_genome_compute_with_16_bits(task: str) -> None:
    of = problem(task, ((16, 16, 1),))
    genome = Genome((Convolution(4, normalisation="batch"), Convolution(4)))
    coarse, exact = decode(genome, of, 1, "bfloat16"), decode(genome, of, 1)
    computing = {layer.name: layer.compute_dtype for layer in coarse.layers}
    assert {bits for name, bits in computing.items() if name.startswith("layer")} == {"bfloat16"}
    assert {bits for name, bits in computing.items() if not name.startswith("layer")} == {"float32"}
    assert {weight.dtype for weight in coarse.weights} == {"float32"}
    assert {layer.compute_dtype for layer in exact.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    bright = 30000 + np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype("float32")
    of = replace(of, facts=replace(of.facts, mean=((30000.0,),)))  # which bfloat16 cannot tell from its neighbours
    coarse, exact = decode(genome, of, 1, "bfloat16"), decode(genome, of, 1)
    np.testing.assert_allclose(np.asarray(coarse(bright)), np.asarray(exact(bright)), atol=0.05)
    assert coarse(bright).dtype == np.float32
