"""What each kind of layer costs, worked by hand for signals, images and volumes; which gradients are needed."""

from __future__ import annotations

import pytest

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
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
    Pooling,
    PositionalEmbedding,
    PReLU,
    Rescaling,
    Reshape,
    Resizing,
    SelfAttention,
    SeparableConvolution,
    SqueezeExcitation,
    TransposedConvolution,
    Upsampling,
    ZeroPadding,
)
from menndl_dask.problem import Problem
from tests.problems import problem

# a signal of 8 samples, an image of 6 × 4 and a volume of 4 × 4 × 2, of 4 channels: 32, 96 and 128 values
SIGNAL, IMAGE, VOLUME = (8, 4), (6, 4, 4), (4, 4, 2, 4)
VALUES = {SIGNAL: 32, IMAGE: 96, VOLUME: 128}
DILATED = Convolution(5, (3, 2), padding="valid", dilation=(2,), bias=False, activation="linear")
GROUPED = Convolution(6, groups=2, normalisation="batch", bias=False)

# layer, what it reads, parameters, FLOPs: forward, gradient by the weights, gradient by the inputs
WEIGHTED = (
    # 3 samples × 4 channels × 5 kernels at 8 places, 2 FLOPs each; a bias and a relu for each of 40 values
    (Convolution(5), SIGNAL, 60 + 5, 2 * 60 * 8 + 80, 2 * 60 * 8 + 80, 2 * 60 * 8),
    # 3 × 3 pixels × 4 × 5 at 3 × 2 places
    (Convolution(5, stride=(2,)), IMAGE, 180 + 5, 2 * 180 * 6 + 60, 2 * 180 * 6 + 60, 2 * 180 * 6),
    # dilated kernels have as many weights; without padding they fit into 2 × 2 places
    (DILATED, IMAGE, 120, 2 * 120 * 4, 2 * 120 * 4, 2 * 120 * 4),
    # 2 groups of 2 channels and 3 kernels; batch normalisation: 2 FLOPs a value, 4 parameters a kernel
    (GROUPED, IMAGE, 108 + 24, 2 * 108 * 24 + 3 * 144, 2 * 108 * 24 + 3 * 144, 2 * 108 * 24),
    (Convolution(5), VOLUME, 540 + 5, 2 * 540 * 32 + 320, 2 * 540 * 32 + 320, 2 * 540 * 32),
    (DepthwiseConvolution(), SIGNAL, 12 + 4, 2 * 12 * 8 + 64, 2 * 12 * 8 + 64, 2 * 12 * 8),
    (DepthwiseConvolution(multiplier=2), IMAGE, 72 + 8, 2 * 72 * 24 + 384, 2 * 72 * 24 + 384, 2 * 72 * 24),
    (DepthwiseConvolution(), VOLUME, 108 + 4, 2 * 108 * 32 + 256, 2 * 108 * 32 + 256, 2 * 108 * 32),
    # kernels of 3 for each channel, then 4 × 5 of one pixel
    (SeparableConvolution(5), SIGNAL, 32 + 5, 2 * 32 * 8 + 80, 2 * 32 * 8 + 80, 2 * 32 * 8),
    (SeparableConvolution(5), IMAGE, 56 + 5, 2 * 56 * 24 + 240, 2 * 56 * 24 + 240, 2 * 56 * 24),
    # each pixel that is read meets all weights: 2 × 4 × 5, 2 × 2 × 4 × 5, 2 × 2 × 2 × 4 × 5
    (TransposedConvolution(5), SIGNAL, 40 + 5, 2 * 40 * 8 + 160, 2 * 40 * 8 + 160, 2 * 40 * 8),
    (TransposedConvolution(5), IMAGE, 80 + 5, 2 * 80 * 24 + 960, 2 * 80 * 24 + 960, 2 * 80 * 24),
    (TransposedConvolution(5), VOLUME, 160 + 5, 2 * 160 * 32 + 2560, 2 * 160 * 32 + 2560, 2 * 160 * 32),
    (FullyConnected(5), (7,), 35 + 5, 2 * 35 + 10, 2 * 35 + 10, 2 * 35),
    (FullyConnected(5), SIGNAL, 160 + 5, 2 * 160 + 10, 2 * 160 + 10, 2 * 160),
    (FullyConnected(5), IMAGE, 480 + 5, 2 * 480 + 10, 2 * 480 + 10, 2 * 480),
    (FullyConnected(5), VOLUME, 640 + 5, 2 * 640 + 10, 2 * 640 + 10, 2 * 640),
)


def _pairs() -> tuple[tuple[Layer, tuple[int, ...], int, float, float, float], ...]:
    """Return the rows of kinds whose costs are counted alike for any number of axes."""
    rows = []
    for shape, n in VALUES.items():
        pixels, rank = n // 4, len(shape) - 1
        once = (Activation("relu"), Dropout(), Noise(), GlobalPooling(), Activation("gelu"))
        rows += [(layer, shape, 0, n, 0, n) for layer in once]
        # a number for each channel, or for each value
        rows.append((Normalisation("batch"), shape, 16, 2 * n, 2 * n, 2 * n))
        rows.append((Normalisation("rms"), shape, 4, 2 * n, 2 * n, 2 * n))
        rows.append((PReLU(), shape, 4, 2 * n, 2 * n, 2 * n))
        rows.append((LayerScale(), shape, 4, n, n, n))
        rows.append((PositionalEmbedding(), shape, n, n, n, 0))
        rows.append((Rescaling(), shape, 0, 2 * n, 0, 2 * n))
        # a square and its sum over 5 channels, then scale, offset, power, quotient and the product with the value
        rows.append((LocalResponseNormalisation(2), shape, 0, 10 * n, 0, 10 * n))
        # each value that is written reads a window of 2 pixels along each axis; half as many are left along each
        rows.append((Pooling(), shape, 0, n, 0, n))
        rows.append((Upsampling(), shape, 0, n * 2**rank, 0, n * 2**rank))
        rows += [(layer, shape, 0, 0, 0, 0) for layer in (Flatten(), Reshape((-1,)))]
        # means of n values, 4 × 2 + 2 × 4 weights, a bias and an activation for 2 and 4 numbers, n products
        gate = 2 * n + 2 * 16 + 2 * 6
        rows.append((SqueezeExcitation(2), shape, 22, gate, gate, gate))
        # for each pixel 4 × 2 + 2 × 1 weights, a bias and an activation for 2 and 1 numbers; n products
        gate = n + pixels * (2 * 10 + 2 * 3)
        rows.append((AttentionGate(2), shape, 13, gate, gate, gate))
        # 4 projections of 4 channels to 6 numbers or back; likeness and means: 2 × 6 × pixels²; 3 for the softmax
        products, each = 2 * 4 * 24 * pixels, 2 * 6 * pixels**2
        forward = products + (3 * 6 + 4) * pixels + 2 * each + 3 * 2 * pixels**2
        rows.append((SelfAttention(2, 3), shape, 4 * 24 + 3 * 6 + 4, forward, forward + 2 * each, products))
    return tuple(rows)


BORDERS = (
    (ZeroPadding(), SIGNAL, 0, 10 * 4, 0, 10 * 4),
    (ZeroPadding(), IMAGE, 0, 8 * 6 * 4, 0, 8 * 6 * 4),
    (ZeroPadding(), VOLUME, 0, 6 * 6 * 4 * 4, 0, 6 * 6 * 4 * 4),
    (Cropping(), SIGNAL, 0, 7 * 4, 0, 7 * 4),
    (Cropping(), IMAGE, 0, 5 * 3 * 4, 0, 5 * 3 * 4),
    (Cropping(), VOLUME, 0, 3 * 3 * 1 * 4, 0, 3 * 3 * 1 * 4),
    (Permute(), SIGNAL, 0, 0, 0, 0),
    (Permute((2, 1, 3)), IMAGE, 0, 0, 0, 0),
    (Permute((2, 1, 3, 4)), VOLUME, 0, 0, 0, 0),
    (Resizing((12, 8)), IMAGE, 0, 12 * 8 * 4, 0, 12 * 8 * 4),
)
ROWS = (*WEIGHTED, *_pairs(), *BORDERS)


@pytest.mark.parametrize(
    ("layer", "shape", "parameters", "forward", "by_weights", "by_inputs"),
    ROWS,
    ids=[f"{type(row[0]).__name__}-{len(row[1]) - 1}d-{i}" for i, row in enumerate(ROWS)],
)
def test_a_layer_costs_what_a_table_worked_by_hand_says(
    layer: Layer, shape: tuple[int, ...], parameters: int, forward: float, by_weights: float, by_inputs: float
) -> None:
    assert layer.parameter_count(shape) == parameters
    assert layer.forward_flops(shape) == forward
    assert layer.weight_gradient_flops(shape) == by_weights
    assert layer.input_gradient_flops(shape) == by_inputs


def test_every_kind_is_in_the_table_for_every_number_of_axes_that_it_reads() -> None:
    tabled = {(type(row[0]), len(row[1]) - 1) for row in ROWS}
    few = {SeparableConvolution: (1, 2), Resizing: (2,)}
    assert {(kind, rank) for kind in KINDS for rank in few.get(kind, (1, 2, 3))} <= tabled


def _costs(*layers: Layer, of: Problem | None = None) -> list[tuple[str, float, float, float]]:
    cost = cost_of(Genome(layers), of or problem(shapes=((6, 4, 4),)))
    return [(each.name, each.flops_forward, each.flops_weights, each.flops_inputs) for each in cost.layers]


def test_gradients_end_at_the_first_layer_with_weights() -> None:
    found = _costs(Rescaling((2.0,)), Pooling(), Convolution(5), Pooling())
    # the scaling of the images, their pooling and the convolution need no gradient by what they read
    assert found == [
        ("Rescaling", 192, 0, 0),
        ("Pooling", 96, 0, 0),
        ("Convolution", 2 * 180 * 6 + 60, 2 * 180 * 6 + 60, 0),
        ("Pooling", 4 * 2 * 5, 0, 4 * 2 * 5),
        ("GlobalPooling", 10, 0, 10),
        ("Head", 2 * 15 + 6, 2 * 15 + 6, 2 * 15),
    ]


def test_a_branch_needs_gradients_where_any_branch_before_it_has_weights() -> None:
    added = Activation("relu", inputs=(1, 3), join="add")
    *_, joined, _, _ = _costs(Convolution(4, (1,)), Pooling((1,), (1,)), Convolution(4, (1,)), added)
    # an addition and an activation for each of 96 values, in both directions
    assert joined == ("Activation", 192, 0, 192)


def test_totals_are_sums_over_layers_and_over_both_directions() -> None:
    cost = cost_of(Genome((Convolution(8), Pooling(), FullyConnected(10))), problem())
    for name in ("flops_forward", "flops_weights", "flops_inputs", "flops_training", "parameters"):
        assert getattr(cost, name) == sum(getattr(each, name) for each in cost.layers)
    assert cost.flops_training == cost.flops_forward + cost.flops_weights + cost.flops_inputs


def test_the_intensity_is_flops_for_each_byte_and_grows_with_the_batch_where_weights_are_reused() -> None:
    layers = (FullyConnected(50, activation="linear", bias=False),)
    dense = cost_of(Genome(layers), problem(shapes=((5, 4, 5),))).layers[0]
    # 100 values and 5,000 weights read, 50 written, 4 bytes each; 10,000 FLOPs
    assert dense.moved_bytes() == 4 * (100 + 5000 + 50)
    assert dense.intensity() == 10_000 / 20_600
    assert dense.intensity(64) == 64 * 10_000 / (4 * (64 * 150 + 5000))
    assert dense.intensity(64, value_bytes=2) == 2 * dense.intensity(64)
    pooling = cost_of(Genome((Pooling(),)), problem()).layers[0]
    assert pooling.intensity(64) == pooling.intensity() == 256 / (4 * (256 + 64))


def test_values_that_are_joined_are_read_each() -> None:
    layers = (Convolution(4), Convolution(4), Activation("relu", inputs=(1, 2), join="add"))
    stacked = (*layers[:2], Convolution(4, inputs=(1, 2)))
    for genome in (Genome(layers), Genome(stacked)):
        assert cost_of(genome, problem()).layers[2].read_values == 2 * 16 * 16 * 4
