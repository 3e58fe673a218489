"""The gene kinds beside those that the default space has: each in every rank, against the Keras layer by hand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.applications import convnext

from menndl_dask.errors import GenomeError, InfeasibleError
from menndl_dask.genome.context import context, sees_whole_image
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import Choice, Integer, Maybe, Several
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model import own_kinds
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.keras_model.encoder import encode
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    KINDS,
    Activation,
    AttentionGate,
    Convolution,
    Cropping,
    DepthwiseConvolution,
    Dropout,
    Flatten,
    FullyConnected,
    GlobalPooling,
    LayerScale,
    LocalResponseNormalisation,
    Noise,
    Normalisation,
    Permute,
    PositionalEmbedding,
    PReLU,
    Rescaling,
    Reshape,
    Resizing,
    SelfAttention,
    SqueezeExcitation,
    TransposedConvolution,
    Upsampling,
    ZeroPadding,
)
from tests.genome.layers.test_settings import SHAPES, check, gene_of
from tests.problems import problem

L = keras.layers


def by_rank(stem: str, rank: int, suffix: str = "") -> Any:
    return getattr(L, f"{stem}{rank}D{suffix}")


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pixels_are_added_and_left_out_at_each_end(rank: int) -> None:
    pairs = [(0, 1), (2, 1), (1, 1)][:rank]
    before, after = tuple(b for b, _ in pairs), tuple(a for _, a in pairs)
    given = pairs[0] if rank == 1 else pairs
    check(SHAPES[rank], ZeroPadding(before, after).simplified(), lambda: by_rank("ZeroPadding", rank)(given))
    check(SHAPES[rank], Cropping(before, after).simplified(), lambda: by_rank("Cropping", rank)(given))
    check(SHAPES[rank], ZeroPadding((1,), (1,)), lambda: by_rank("ZeroPadding", rank)(1))


def test_a_padded_image_is_larger_and_a_cropped_one_has_a_pixel_left() -> None:
    assert ZeroPadding((3,), (2,)).output_shape((5, 6, 8)) == (10, 11, 8)
    with pytest.raises(InfeasibleError, match="larger than what is cropped"):
        Cropping((3,), (2,)).output_shape((5, 6, 8))
    with pytest.raises(InfeasibleError, match="expected an image, got 8 features"):
        ZeroPadding().output_shape((8,))
    assert Genome((ZeroPadding((0,), (0,)), Cropping((0,), (0,)))) == Genome(())


@pytest.mark.parametrize(("shape", "target"), [((8,), (2, 2, 2)), ((12, 8), (3, 4, 8)), ((4, 6, 8), (-1, 8)),
                                               ((2, 3, 4, 8), (6, 32)), ((4, 6, 8), (-1,))])  # fmt: skip
def test_values_are_written_with_other_axes(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    check(shape, Reshape(target), lambda: L.Reshape(target))


@pytest.mark.parametrize("order", [(2, 1), (3, 1, 2), (2, 1, 3), (4, 1, 3, 2)])
def test_axes_are_written_in_another_order(order: tuple[int, ...]) -> None:
    check(tuple(range(3, 3 + len(order))), Permute(order), lambda: L.Permute(order))
    assert Permute(tuple(sorted(order))).is_identity


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("method", "stem"), [("average", "GlobalAveragePooling"), ("max", "GlobalMaxPooling")])
def test_an_image_of_one_pixel_is_left_of_a_pooled_one(method: str, stem: str, rank: int) -> None:
    check(SHAPES[rank], GlobalPooling(method, keepdims=True), lambda: by_rank(stem, rank)(keepdims=True))
    assert Genome((GlobalPooling("average"),)) != Genome((GlobalPooling("average", keepdims=True),))


TRANSPOSED = [
    (TransposedConvolution(5, (3,), (2,), "valid"), {"kernel_size": 3, "strides": 2, "padding": "valid"}),
    (TransposedConvolution(5, (2,), (3,), "valid"), {"kernel_size": 2, "strides": 3, "padding": "valid"}),
    (TransposedConvolution(5, (3,), (2,), "same", (1,)), {"kernel_size": 3, "strides": 2, "padding": "same",
                                                          "output_padding": 1}),
    (TransposedConvolution(5, (4,), (3,), "same", (1,)), {"kernel_size": 4, "strides": 3, "padding": "same",
                                                          "output_padding": 1}),
    (TransposedConvolution(5, (3,), (3,), "valid", (2,)), {"kernel_size": 3, "strides": 3, "padding": "valid",
                                                           "output_padding": 2}),
]  # fmt: skip


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("gene", "settings"), TRANSPOSED)
def test_a_transposed_convolution_has_all_its_paddings(gene: Layer, settings: dict[str, Any], rank: int) -> None:
    check(SHAPES[rank], gene.replaced(activation="linear"), lambda: by_rank("Conv", rank, "Transpose")(5, **settings))


def test_more_pixels_than_the_stride_are_refused() -> None:
    for size, more in ((3, 2), (4, 0)):
        gene = TransposedConvolution(4, (size,), (2,), "same", (more,))
        with pytest.raises(InfeasibleError, match="more: expected fewer pixels than the stride 2"):
            gene.output_shape((8, 8, 3))
    assert TransposedConvolution(4, padding="valid").clipped((8, 8), only_same=True) == TransposedConvolution(4)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_dense_layer_on_an_image_is_a_convolution_of_single_pixels(rank: int) -> None:
    view = keras.Input(SHAPES[rank])
    theirs = keras.Model(view, L.Dense(5, "tanh")(view))
    gene = gene_of(theirs.layers[-1])
    assert gene == Convolution(5, (1,), activation="tanh")
    ours = keras.Model(view, gene.build(view, "layer0", lambda: 3))
    ours.set_weights([np.reshape(w, v.shape) for w, v in zip(theirs.get_weights(), ours.weights, strict=True)])
    images = np.random.default_rng(0).normal(size=(2, *SHAPES[rank])).astype("float32")
    np.testing.assert_allclose(np.asarray(ours(images)), np.asarray(theirs(images)), atol=1e-5)
    view = keras.Input((6, 6, 8))
    limited = keras.Model(view, L.Dense(5, kernel_constraint="non_neg", name="odd")(view))
    with pytest.raises(GenomeError, match=r"layer 'odd' .*kernel_constraint=.* has no gene"):
        gene_of(limited.layers[-1])


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"])
def test_images_are_resized_by_every_interpolation(interpolation: str) -> None:
    check((8, 6, 3), Resizing((12, 5), interpolation), lambda: L.Resizing(12, 5, interpolation))
    check((8, 6, 3), Upsampling((3,), interpolation), lambda: L.UpSampling2D(3, interpolation=interpolation))
    images = np.zeros((1, 40, 40, 1), "float32")
    for gene in (Resizing((100, 60), interpolation), Upsampling((3,), interpolation)):
        view = keras.Input((40, 40, 1))
        model = keras.Model(view, gene.build(view, "layer0", lambda: 3))
        lit = images.copy()
        lit[0, 20, 20] = 1
        seen = np.flatnonzero(np.abs(np.asarray(model(lit))[0, :, :, 0]).max(1) > 1e-4)
        window = gene.windows((40, 40))[0]
        first, last = ((window.step * seen + end) // window.parts for end in (window.first, window.last))
        assert (first <= 20).all()
        assert (last >= 20).all()


@pytest.mark.parametrize("setting", ["crop_to_aspect_ratio", "antialias"])
def test_a_resizing_with_other_settings_has_no_gene(setting: str) -> None:
    view = keras.Input((8, 6, 3))
    model = keras.Model(view, L.Resizing(4, 4, **{setting: True})(view))
    with pytest.raises(GenomeError, match=f"{setting}=True has no gene"):
        gene_of(model.layers[-1])


@pytest.mark.parametrize("rank", SHAPES)
def test_images_are_scaled_by_fixed_numbers(rank: int) -> None:
    check(SHAPES[rank], Rescaling((0.5,), (-1.0,)), lambda: L.Rescaling(0.5, -1.0))
    scale = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    check(SHAPES[rank], Rescaling(tuple(scale), (0.0,)), lambda: L.Rescaling(scale))
    with pytest.raises(InfeasibleError, match="expected numbers for 3 channels, got 2"):
        Rescaling((1.0, 2.0)).output_shape((4, 4, 3))


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize(
    ("gene", "make"),
    [
        (Noise("added", 0.2), lambda: L.GaussianNoise(0.2)),
        (Noise("multiplied", 0.3), lambda: L.GaussianDropout(0.3)),
        (Noise("alpha", 0.1), lambda: L.AlphaDropout(0.1)),
        (Dropout(0.2), lambda: L.Dropout(0.2)),
        (Dropout(0.2, "sample"), lambda: lambda t: L.Dropout(0.2, noise_shape=(None, *[1] * (len(t.shape) - 1)))(t)),
        (Dropout(0.2, "sample"), lambda: convnext.StochasticDepth(0.2)),
    ],
)
def test_what_happens_only_while_training_is_kept(gene: Layer, make: Callable[[], Any], rank: int) -> None:
    check(SHAPES[rank], gene, make)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_channels_are_dropped_together(rank: int) -> None:
    gene, shape = Dropout(0.5, "channel"), SHAPES[rank]
    check(shape, gene, lambda: by_rank("SpatialDropout", rank)(0.5))
    check(shape, gene, lambda: L.Dropout(0.5, noise_shape=(None, *[1] * rank, 8)))
    view = keras.Input(shape)
    for word, axes in (("channel", tuple(range(1, rank + 1))), ("sample", tuple(range(1, rank + 2)))):
        model = keras.Model(view, Dropout(0.5, word).build(view, "layer0", lambda: 3))
        found = np.asarray(model(np.ones((40, *shape), "float32"), training=True))
        assert (found.std(axes) == 0).all()
        assert set(found.ravel()) == {0.0, 2.0}
    assert gene.suited((8,)) == Dropout(0.5)
    odd = keras.Model(view, L.Dropout(0.5, noise_shape=(1, *[None] * rank, 8), name="odd")(view))
    with pytest.raises(GenomeError, match=r"layer 'odd' .*noise_shape=.* has no gene"):
        gene_of(odd.layers[-1])


@pytest.mark.parametrize("rank", SHAPES)
def test_channels_are_scaled_by_learnt_numbers(rank: int) -> None:
    check(SHAPES[rank], LayerScale(0.1), lambda: convnext.LayerScale(0.1, 8))
    view = keras.Input(SHAPES[rank])
    model = keras.Model(view, LayerScale(0.25).build(view, "layer0", lambda: 3))
    np.testing.assert_allclose(np.asarray(model(np.ones((2, *SHAPES[rank]), "float32"))), 0.25)


def test_local_responses_are_normalised_as_in_tensorflow() -> None:
    import tensorflow as tf

    gene = LocalResponseNormalisation(2, 2.0, 0.1, 0.75)
    for rank, shape in SHAPES.items():
        view = keras.Input(shape)
        made = gene.build(view, "layer0", lambda: 3)
        assert LocalResponseNormalisation.read(made._keras_history.operation) == gene
        images = np.random.default_rng(0).normal(0, 3, (2, *shape)).astype("float32")
        found = np.asarray(keras.Model(view, made)(images))
        if rank == 2:
            theirs = tf.nn.local_response_normalization(images, 2, 2.0, 0.1, 0.75)
            np.testing.assert_allclose(found, np.asarray(theirs), atol=1e-5)
        window = [np.abs(np.arange(8) - i) <= 2 for i in range(8)]
        sums = np.stack([(images**2)[..., near].sum(-1) for near in window], -1)
        np.testing.assert_allclose(found, images / (2 + 0.1 * sums) ** 0.75, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("gene", "settings"),
    [
        (SelfAttention(2, 4), {"num_heads": 2, "key_dim": 4}),
        (SelfAttention(3, 5, 6, bias=False), {"num_heads": 3, "key_dim": 5, "value_dim": 6, "use_bias": False}),
        (SelfAttention(1, 8, rate=0.1), {"num_heads": 1, "key_dim": 8, "dropout": 0.1, "output_shape": 8}),
    ],
)
def test_every_pixel_attends_to_all(gene: Layer, settings: dict[str, Any], rank: int) -> None:
    check(SHAPES[rank], gene, lambda: lambda t: L.MultiHeadAttention(**settings)(t, t))


@pytest.mark.parametrize(("setting", "value"), [("output_shape", 4), ("attention_axes", (1,))])
def test_another_attention_has_no_gene(setting: str, value: object) -> None:
    view = keras.Input((4, 5, 8))
    made = L.MultiHeadAttention(2, 4, name="odd", **{setting: value})(view, view)  # type: ignore[arg-type]
    with pytest.raises(GenomeError, match=f"layer 'odd' .*{setting}=.* has no gene"):
        gene_of(made._keras_history.operation)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_place_has_learnt_numbers(rank: int) -> None:
    shape, gene = SHAPES[rank], PositionalEmbedding()
    view = keras.Input(shape)
    made = gene.build(view, "layer0", lambda: 3)
    assert PositionalEmbedding.read(made._keras_history.operation) == gene
    model = keras.Model(view, made)
    assert model.count_params() == gene.parameter_count(shape) == math.prod(shape)
    numbers = np.random.default_rng(0).normal(size=(math.prod(shape[:-1]), 8))
    model.set_weights([numbers])
    images = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    np.testing.assert_allclose(np.asarray(model(images)), images + numbers.reshape(shape), atol=1e-5)


def test_a_model_in_a_model_that_computes_otherwise_is_not_such_a_gene() -> None:
    view, start = keras.Input((6, 8)), keras.Input((6, 8))
    other = keras.Model(start, keras.ops.power(keras.ops.square(start) * 2.0 + 1.0, 0.5))
    made = other(view)._keras_history.operation
    assert LocalResponseNormalisation.read(made) is PositionalEmbedding.read(made) is None
    inner = keras.Sequential([keras.Input((6, 8)), L.Conv1D(4, 3, padding="same"), L.PReLU(shared_axes=[1])])
    model = keras.Model(view, L.Dense(3)(L.Flatten()(inner(view))))
    assert encode(model) == Genome((Convolution(4, activation="linear"), PReLU(), Flatten()))


FLOPS = [  # by hand, for an image of 4 times 6 pixels and 8 channels
    (ZeroPadding(), 6 * 8 * 8), (Cropping((1,), (1,)), 2 * 4 * 8), (Reshape((24, 8)), 0), (Permute((2, 1, 3)), 0),
    (Resizing((2, 3)), 6 * 8), (Rescaling((2.0,)), 2 * 24 * 8), (LayerScale(), 24 * 8), (PReLU(), 2 * 24 * 8),
    (Noise(), 24 * 8), (LocalResponseNormalisation(2), (2 * 2 + 6) * 24 * 8), (PositionalEmbedding(), 24 * 8),
    (TransposedConvolution(5, (3,), (2,), "valid", bias=False, activation="linear"), 2 * 24 * 9 * 8 * 5),
    (SelfAttention(2, 4, bias=False), 2 * 24 * 4 * 8 * 8 + 2 * 24 * 24 * 16 + 3 * 2 * 24 * 24),
]  # fmt: skip


@pytest.mark.parametrize(("gene", "flops"), FLOPS, ids=repr)
def test_flops_are_those_that_are_counted_by_hand(gene: Layer, flops: float) -> None:
    assert gene.forward_flops((4, 6, 8)) == flops


EVERY = Genome(
    (
        Rescaling((0.5, 2.0, 1.0), (0.0, 1.0, 0.0), inputs=(1,)),
        ZeroPadding((1,), (2, 1)),
        Convolution(8, (3,), padding="valid", activation="linear"),
        Normalisation("batch", 1e-5, 0.99, scale=False),
        PReLU(),
        LocalResponseNormalisation(),
        Cropping((0,), (1,)),
        DepthwiseConvolution((3,), activation="linear", bias=False),
        LayerScale(0.1),
        Activation("gelu", approximate=True, inputs=(1, 3), join="add"),
        GlobalPooling("average", keepdims=True),
        Convolution(8, (1,), activation="hard_sigmoid"),
        Dropout(0.2, "sample", inputs=(1, 3), join="multiply"),
        Normalisation("rms"),
        Activation("celu", 0.5),
        Resizing((6, 5), "bicubic"),
        Reshape((-1, 8)),
        PositionalEmbedding(),
        SelfAttention(2, 4),
        Noise("multiplied", 0.1, inputs=(1, 2), join="add"),
        Permute((2, 1)),
        Activation("relu", 0.1, 4.0),
        FullyConnected(6, activation="softplus"),
        Activation("elu", 0.5),
    )
)
LOADING = """
import json, sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
assert not any(name.startswith("menndl") for name in sys.modules)
images = np.load(sys.argv[2])
print(json.dumps(np.asarray(model(images)).tolist()))
"""


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, when it saves
def test_a_file_with_every_kind_needs_none_of_our_classes(tmp_path: Path) -> None:
    of = problem("classification", ((8, 7, 3),), 3)
    model = decode(EVERY, of)
    assert cost_of(EVERY, of).parameters == model.count_params()
    assert encode(model) == EVERY
    images = np.random.default_rng(0).normal(size=(2, 8, 7, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", LOADING, str(tmp_path / "model.keras"), str(tmp_path / "images.npy")]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), np.asarray(model(images)), atol=1e-5)
    assert encode(keras.saving.load_model(tmp_path / "model.keras")) == EVERY


def test_how_far_a_network_looks_is_known_through_new_kinds() -> None:
    of = problem("segmentation", ((40, 40, 3),), 2)
    plain = Genome((ZeroPadding((2,), (2,)), Convolution(4, (5,), padding="valid")))
    assert context(plain, of) == (5, 5)
    gated = Genome(
        (
            Convolution(4, (5,)),
            GlobalPooling("average", keepdims=True),
            Convolution(4, (1,), activation="sigmoid"),
            Activation("linear", inputs=(1, 3), join="multiply"),
        )
    )
    assert context(gated, of) == (5, 5)
    assert sees_whole_image(gated, of)
    assert context(Genome((Convolution(4), SelfAttention(1, 4))), of) >= (40, 40)
    reshaped = Genome((Reshape((-1, 3)), Convolution(4, (3,)), Reshape((40, 40, 4))))
    assert context(reshaped, of) == (40, 40)


def test_each_kind_can_be_read_by_one_reader() -> None:
    made = partial(keras.Input, (6, 6, 8))
    for kind in set(KINDS) - {SqueezeExcitation, AttentionGate}:  # which are several layers
        view = made()
        try:
            built = kind().build(view, "layer0", lambda: 3)
        except (InfeasibleError, ValueError, GenomeError):
            continue
        if built is not view:
            found = [other for other in KINDS if other.read(built._keras_history.operation) is not None]
            assert found == [kind]


def test_an_image_that_is_repeated_along_one_axis_is_cropped_along_the_other() -> None:
    genome = Genome((Resizing((1, 5)), PReLU(inputs=(2,)), Activation("tanh", inputs=(1, 2), join="subtract")))
    of = problem("classification", ((9, 6, 8),), 3)
    model = decode(genome, of)
    assert encode(model) == genome
    assert cost_of(genome, of).parameters == model.count_params()


def test_ratios_that_give_as_many_kernels_are_one() -> None:
    for kind in (SqueezeExcitation, AttentionGate):
        with pytest.raises(InfeasibleError, match="a ratio of 5 of 8 channels is written as 8"):
            kind(5).output_shape((6, 6, 8))
        assert kind(5).suited((6, 6, 8)) == kind(8)
        kind(5).output_shape((6, 6, 30))
        kind(1).output_shape((6, 6, 3))


def test_a_causal_convolution_reads_no_later_pixel() -> None:
    gene = Convolution(5, (3,), (2,), "causal", activation="linear")
    check((12, 8), gene, lambda: L.Conv1D(5, 3, 2, "causal"))
    check((12, 8), gene.replaced(stride=(1,), dilation=(3,)), lambda: L.Conv1D(5, 3, padding="causal", dilation_rate=3))
    window = gene.windows((12,))[0]
    assert (window.step, window.first, window.last) == (2, -2, 0)
    with pytest.raises(InfeasibleError, match="'causal' exists for images of 1 axis, got 2"):
        gene.output_shape((8, 8, 3))
    assert gene.clipped((8, 8), only_same=True).padding == "same"
    assert gene.clipped((12,), only_same=True) == gene


SMALL = (0, 1, 1, 2, 2, 3, 4, 6, 0.0, 0.1, 0.25, 1e-3, 1.0, 6.0, 0.9)


def _drawn(bound: Any, rank: int, rng: np.random.Generator) -> Any:
    """Return a small value of those that are valid for a field."""
    if isinstance(bound, Maybe):
        return None if rng.random() < 0.4 else _drawn(bound.inner, rank, rng)
    if isinstance(bound, Several):
        counts = [1, rank] if bound.most == 3 else [1, 2] if bound.most == 2 else [1, 8]
        return tuple(_drawn(bound.inner, rank, rng) for _ in range(rng.choice(counts)))
    if isinstance(bound, Choice):
        return bound.values[rng.integers(len(bound.values))]
    kind = int if isinstance(bound, Integer) else float
    fitting = [value for value in SMALL if isinstance(value, kind) and bound.low <= value <= bound.high]
    return fitting[rng.integers(len(fitting))]


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
def test_a_layer_with_any_valid_settings_goes_to_keras_and_back(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_kinds, "kinds_of_users", list)  # those of other tests would be read first
    rng, shape, tried = np.random.default_rng(rank), SHAPES[rank], set()
    of = problem("classification", (shape,), 3)
    for kind in KINDS * 4:
        values = {
            f.name: _drawn(f.metadata.get("valid") or f.metadata["domain"], max(rank, 1), rng)
            for f in fields(kind)
            if f.name not in ("inputs", "join") and rng.random() < 0.6
        }
        try:
            genome = Genome((kind(**values),))
            cost = cost_of(genome, of)
        except GenomeError:
            continue
        model = decode(genome, of)
        assert model.count_params() == cost.parameters
        assert encode(model) == genome
        tried.add(kind)
    assert len(tried) >= (15 if rank else 9), sorted(k.__name__ for k in set(KINDS) - tried)
