"""The gene kinds of image networks: each has every rule, and its rules agree with Keras."""

from __future__ import annotations

import re
from dataclasses import fields

import keras
import numpy as np
import pytest

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import PerAxis, with_rank
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model import decoder, encoder
from menndl_dask.genome.layer import RULES, Layer
from menndl_dask.genome.layers import (
    ACTIVATIONS,
    KINDS,
    NORMALISATIONS,
    Activation,
    AttentionGate,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    Flatten,
    FullyConnected,
    GlobalPooling,
    Normalisation,
    Permute,
    Pooling,
    SeparableConvolution,
    SqueezeExcitation,
    TransposedConvolution,
    Upsampling,
)
from menndl_dask.genome.topology import order_matters
from menndl_dask.genome.training_gene import Training
from menndl_dask.report.network_drawing import boxes
from tests.kinds import EXTRA
from tests.problems import problem

SHAPES = {1: (24, 4), 2: (16, 12, 4), 3: (8, 10, 12, 4)}


def _drawn(kind: type[Gene], rank: int, rng: np.random.Generator) -> Layer:
    domains = {name: with_rank(domain, rank) for name, domain in kind.domains().items()}
    order = {"order": tuple(range(rank + 1, 0, -1))} if kind is Permute else {}
    gene = kind(**{name: domain.sample(rng) for name, domain in domains.items()}, **order)
    assert isinstance(gene, Layer)
    return gene


def test_the_kinds_that_the_encoding_promises_exist() -> None:
    names = """
        Convolution DepthwiseConvolution SeparableConvolution TransposedConvolution FullyConnected Pooling GlobalPooling
        Flatten Upsampling Dropout Normalisation Activation PReLU SqueezeExcitation AttentionGate ZeroPadding Cropping
        Reshape Permute Resizing Rescaling LayerScale LocalResponseNormalisation Noise SelfAttention PositionalEmbedding
    """
    assert sorted(kind.__name__ for kind in KINDS) == sorted(re.findall(r"\w+", names))


@pytest.mark.parametrize("kind", [*KINDS, *EXTRA])
@pytest.mark.parametrize("rule", RULES)
def test_no_kind_is_half_added(kind: type[Layer], rule: str) -> None:
    defined, missing = getattr(kind, rule), getattr(Layer, rule)
    assert getattr(defined, "__func__", defined) is not getattr(missing, "__func__", missing)


@pytest.mark.parametrize("kind", [*KINDS, *EXTRA])
def test_every_kind_is_drawn(kind: type[Layer]) -> None:
    box = boxes(Genome((Convolution(8), kind(inputs=(1, 2)), Convolution(8))))[2]
    assert (box.title, box.family) == (kind.drawn_title or kind.__name__, kind.drawn_family)


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("kind", [*KINDS, *EXTRA])
def test_a_layer_is_in_keras_what_its_rules_say_and_is_read_back(kind: type[Layer], rank: int) -> None:
    shape = SHAPES[rank]
    before = (12,) if kind is FullyConnected and rank == 1 else shape  # of features too
    tried = 0
    for seed in range(40):
        layer = _drawn(kind, rank, np.random.default_rng(seed)).simplified()
        try:
            after = layer.output_shape(before)
        except InfeasibleError:
            continue
        view = keras.Input(before)
        built = layer.build(view, "layer0", lambda: 3)
        model = keras.Model(view, built)
        assert tuple(built.shape[1:]) == after
        assert model.count_params() == layer.parameter_count(before)
        assert layer.forward_flops(before) >= 0
        of = problem(shapes=(before,))
        assert encoder.encode(decoder.decode(Genome((layer,)), of)) == Genome((layer,))
        tried += 1
        if tried == 6:
            break
    assert tried or rank not in getattr(kind, "ranks", (1, 2, 3))


def test_separable_convolutions_do_not_exist_for_volumes() -> None:
    with pytest.raises(InfeasibleError, match="exists for images of 1 or 2 axes, got 3"):
        SeparableConvolution().output_shape(SHAPES[3])


@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_a_depthwise_convolution_of_a_volume_is_one_with_a_group_for_each_channel(multiplier: int) -> None:
    gene = DepthwiseConvolution((1, 3, 3), stride=(1, 2, 2), multiplier=multiplier, normalisation="instance")
    view = keras.Input((8, 12, 12, 4))
    tensor = keras.layers.Conv3D(4 * multiplier, (1, 3, 3), (1, 2, 2), "same", groups=4)(view)
    tensor = keras.layers.Activation("relu")(keras.layers.GroupNormalization(-1, epsilon=1e-5)(tensor))
    model = keras.Model(view, keras.layers.Conv3D(2, 1, activation="softmax")(tensor))
    assert encoder.encode(model) == Genome((gene,))
    assert model.count_params() == cost_of(Genome((gene,)), problem("segmentation", ((8, 12, 12, 4),), 2)).parameters
    images = np.random.default_rng(0).normal(size=(1, 8, 12, 12, 4)).astype("float32")
    changed = images.copy()
    changed[..., 3] += 1  # the other channels do not see it
    plain = keras.Model(view, gene.replaced(normalisation="none").build(view, "layer0", lambda: 3))
    first, second = np.asarray(plain(images)), np.asarray(plain(changed))
    np.testing.assert_allclose(first[..., : 3 * multiplier], second[..., : 3 * multiplier], atol=1e-5)
    assert not np.allclose(first, second, atol=1e-2)


def test_a_volume_of_one_channel_has_no_depthwise_convolution_of_its_own() -> None:
    with pytest.raises(InfeasibleError, match="expected a volume of several channels, got one"):
        DepthwiseConvolution().output_shape((8, 8, 8, 1))


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("groups", [2, 4])
def test_a_convolution_in_groups_is_read_back_and_counted(rank: int, groups: int) -> None:
    shape = (*SHAPES[rank][:-1], 8)
    genome = Genome((Convolution(12, groups=groups, normalisation="group"),))
    of = problem("segmentation", (shape,))
    model = decoder.decode(genome, of)
    assert encoder.encode(model) == genome
    assert model.count_params() == cost_of(genome, of).parameters
    whole = Convolution(12).weight_count(shape)
    assert Convolution(12, groups=groups).weight_count(shape) == whole // groups


@pytest.mark.parametrize(
    ("layer", "shape", "suited"),
    [
        (Convolution(12, groups=8), (16, 16, 6), Convolution(12, groups=2)),
        (Convolution(9, groups=4), (16, 16, 8), Convolution(9)),
        (Convolution(8, groups=4), (8, 8, 8, 4), Convolution(8)),  # in 3-D this is depthwise
        (Convolution(8, normalisation="instance"), (16, 8), Convolution(8, normalisation="instance")),
        (FullyConnected(8, normalisation="instance"), (16,), FullyConnected(8, normalisation="group")),
        (Normalisation("instance"), (1, 1, 1), Normalisation("none")),
        (Normalisation("group"), (8, 8, 1), Normalisation("instance")),
    ],
)
def test_a_layer_is_suited_to_the_channels_that_it_reads(layer: Layer, shape: tuple[int, ...], suited: Layer) -> None:
    if layer != suited:
        with pytest.raises(InfeasibleError):
            layer.output_shape(shape)
    assert layer.suited(shape) == suited
    suited.output_shape(shape)


def test_each_normalisation_makes_even_what_it_says() -> None:
    images = np.random.default_rng(0).normal(3, 2, size=(4, 10, 12, 16)).astype("float32")
    axes = {"batch": (0, 1, 2), "layer": (3,), "instance": (1, 2), "group": (1, 2, 4)}
    for method, over in axes.items():
        view = keras.Input((10, 12, 16))
        model = keras.Model(view, Normalisation(method).build(view, "layer0", lambda: 3))
        found = np.asarray(model(images, training=True))
        if method == "group":
            found = found.reshape(4, 10, 12, 4, 4)  # four groups of four channels
        np.testing.assert_allclose(found.mean(over), 0, atol=1e-4)
        np.testing.assert_allclose(found.var(over), 1, atol=5e-3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_every_activation_and_normalisation_exists_in_keras(activation: str, normalisation: str) -> None:
    layer = Convolution(4, activation=activation, normalisation=normalisation)
    model = decoder.decode(Genome((layer,)), problem())
    assert encoder.encode(model).layers == (layer,)
    assert np.isfinite(model(np.ones((1, 16, 16, 1), "float32"))).all()


def test_a_convolution_has_all_the_choices_that_keras_gives_it() -> None:
    layer = Convolution(
        24, (3, 5), stride=(2, 1), padding="valid", activation="elu", normalisation="layer", bias=False
    )
    dilated = Convolution(6, (3, 5), dilation=(2, 4))
    first, second = (
        next(k for k in decoder.decode(Genome((gene,)), problem()).layers if type(k) is keras.layers.Conv2D)
        for gene in (layer, dilated)
    )
    assert (first.filters, first.kernel_size, first.strides) == (24, (3, 5), (2, 1))
    assert (first.padding, first.use_bias) == ("valid", False)
    assert second.dilation_rate == (2, 4)


def test_what_becomes_of_the_channels_is_true_of_each_kind() -> None:
    # a kind that keeps channels must commute with exchanging them; one that mixes them must have weights for that
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 16, 12, 4)).astype("float32")
    for kind in (Pooling, GlobalPooling, Upsampling, Normalisation, Activation):
        assert kind.channels == "kept"
        view = keras.Input((16, 12, 4))
        model = keras.Model(view, kind().build(view, "layer0", lambda: 3))
        np.testing.assert_allclose(model(images[..., ::-1]), np.asarray(model(images))[..., ::-1], atol=1e-5)
    for kind in (Convolution, SeparableConvolution, TransposedConvolution, FullyConnected):
        assert kind.channels == "mixed"
    assert Flatten.channels == Layer.channels == "fixed"
    assert order_matters([(-1,), (-1,), (0, 1)], [False] * 3, ["mixed", "mixed", Flatten.channels])[2]


@pytest.mark.parametrize(
    "nothing",
    [Pooling((1,), (1,)), Upsampling((1,)), Dropout(0.0), Normalisation("none"), Activation("linear")],
    ids=repr,
)
def test_a_layer_that_does_nothing_says_so(nothing: Layer) -> None:
    assert nothing.is_identity
    assert nothing.simplified() == Activation("linear")
    assert not type(nothing)().is_identity or isinstance(nothing, Activation)
    assert Genome((nothing,)) == Genome(())
    joined = nothing.replaced(inputs=(1, 2), join="add")
    assert Genome((Convolution(4), joined)) == Genome((Convolution(4), Activation("linear", inputs=(1, 2), join="add")))


def test_only_a_linear_layer_takes_in_what_follows() -> None:
    linear = Convolution(8, activation="linear")
    assert linear.absorb(Activation("relu")) == linear.replaced(activation="relu")
    assert linear.absorb(Normalisation("batch")) == linear.replaced(normalisation="batch")
    assert Convolution(8).absorb(Normalisation("batch")) is None
    assert linear.replaced(normalisation="layer").absorb(Normalisation("batch")) is None
    assert linear.absorb(Dropout(0.5)) is None


def test_sizes_for_each_axis_are_tuples_in_every_kind() -> None:
    for kind in (*KINDS, *EXTRA):
        for name, domain in kind.domains().items():
            if isinstance(domain, PerAxis):
                assert isinstance(getattr(kind(), name), tuple)


def test_every_field_of_every_kind_has_a_domain_that_holds_its_default() -> None:
    for kind in (*KINDS, *EXTRA, Training):
        gene = kind()
        names = {f.name for f in fields(gene) if "valid" not in f.metadata or "domain" in f.metadata}  # type: ignore[arg-type]
        assert names - {"inputs", "join"} == set(kind.domains())
        assert all(domain.contains(getattr(gene, name)) for name, domain in kind.domains().items())


def _gated(means: bool, dense: bool, turned: bool) -> keras.Model:
    """Return a network with squeeze-and-excitation or an attention gate as people write it in plain Keras."""
    image = keras.Input((16, 12, 8))
    gate = image
    if means:
        gate = keras.layers.GlobalAveragePooling2D(keepdims=not dense)(gate)
        gate = keras.layers.Reshape((1, 1, 8))(gate) if dense else gate
    if dense:
        gate = keras.layers.Dense(8 if means else 1, "sigmoid")(keras.layers.Dense(2, "relu")(gate))
    else:
        gate = keras.layers.Conv2D(2, 1, activation="relu")(gate)
        gate = keras.layers.Conv2D(8 if means else 1, 1, activation="sigmoid")(gate)
    tensor = keras.layers.Multiply()([image, gate] if turned else [gate, image])
    return keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax")(tensor))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(("means", "gene"), [(True, SqueezeExcitation(4)), (False, AttentionGate(4))])
def test_a_gate_of_plain_keras_is_one_gene(means: bool, gene: Layer, dense: bool, turned: bool) -> None:
    model = _gated(means, dense, turned)
    genome = encoder.encode(model)
    assert genome == Genome((gene,))
    of = problem("segmentation", ((16, 12, 8),))
    built = decoder.decode(genome, of)
    assert built.count_params() == model.count_params() == cost_of(genome, of).parameters
    for mine, its in zip(built.weights, model.weights, strict=True):
        mine.assign(np.reshape(its, mine.shape))
    images = np.random.default_rng(0).normal(size=(2, 16, 12, 8)).astype("float32")
    np.testing.assert_allclose(np.asarray(built(images)), np.asarray(model(images)), atol=1e-5)


def test_a_gate_is_narrowed_to_the_channels_that_there_are() -> None:
    for kind in (SqueezeExcitation, AttentionGate):
        with pytest.raises(InfeasibleError, match="expected at least 8 channels, got 5"):
            kind(8).output_shape((16, 16, 5))
        assert kind(8).suited((16, 16, 5)) == kind(4)
        with pytest.raises(InfeasibleError, match="expected an image, got 8 features"):
            kind().output_shape((8,))
