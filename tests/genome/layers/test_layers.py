"""The gene kinds of image networks: each has every rule, and its rules agree with Keras."""

from __future__ import annotations

from dataclasses import fields

import keras
import numpy as np
import pytest

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome import decoder, encoder
from menndl_dask.genome.domain import PerAxis, with_rank
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import RULES, Layer
from menndl_dask.genome.layers import (
    ACTIVATIONS,
    KINDS,
    NORMALISATIONS,
    Activation,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    Flatten,
    FullyConnected,
    GlobalPooling,
    Normalisation,
    Pooling,
    SeparableConvolution,
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
    gene = kind(**{name: domain.sample(rng) for name, domain in domains.items()})
    assert isinstance(gene, Layer)
    return gene


def test_the_kinds_that_the_encoding_promises_exist() -> None:
    assert set(KINDS) == {
        Convolution, DepthwiseConvolution, SeparableConvolution, TransposedConvolution, FullyConnected, Pooling,
        GlobalPooling, Flatten, Upsampling, Dropout, Normalisation, Activation,
    }  # fmt: skip


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


@pytest.mark.parametrize("kind", [DepthwiseConvolution, SeparableConvolution])
def test_depthwise_layers_do_not_exist_for_volumes(kind: type[Layer]) -> None:
    with pytest.raises(InfeasibleError, match="exists for images of 1 or 2 axes, got 3"):
        kind().output_shape(SHAPES[3])


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
        names = {f.name for f in fields(gene)} - {"inputs", "join"}  # type: ignore[arg-type]
        assert names == set(kind.domains())
        assert all(domain.contains(getattr(gene, name)) for name, domain in kind.domains().items())
