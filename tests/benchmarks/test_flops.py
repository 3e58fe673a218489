"""The benchmark of FLOPs: TensorFlow's own count of a few networks, and why it differs for two kinds of layers."""

from __future__ import annotations

import pytest

from benchmarks import flops
from menndl_dask.genome.layers import Convolution, TransposedConvolution, Weighted


def test_layers_of_random_networks_are_within_one_percent_of_the_count_of_tensorflow() -> None:
    count = flops.counter("tensorflow")
    cases = list(dict.fromkeys(case for _, cases in flops.drawn(8) for case in cases))[::3]
    assert len(cases) > 10
    for layer, shape in cases:
        assert flops.agrees("tensorflow", (layer, shape), count(layer, shape)), (layer, shape)
    known = [flops.expected("tensorflow", *case) for case in cases]
    assert known.count(1.0) > 0.8 * len(cases)  # as it counts, without a factor


@pytest.mark.parametrize(
    ("layer", "shape", "factor"),
    [
        # 13 pixels are divided into 4 images, so that TensorFlow adds 3; without a dilation it adds none
        (Convolution(5, dilation=(4, 1)), (13, 8, 2), 16 / 13),
        (Convolution(5), (13, 8, 2), 1.0),
        (TransposedConvolution(5), (4, 4, 4, 2), 0.0),
    ],
)
def test_tensorflow_counts_otherwise_by_a_known_factor(layer: Weighted, shape: tuple[int, ...], factor: float) -> None:
    assert flops.expected("tensorflow", layer, shape) == factor
    assert flops.agrees("tensorflow", (flops.bare(layer), shape), flops.counter("tensorflow")(flops.bare(layer), shape))


def test_jax_leaves_out_what_meets_the_border() -> None:
    # 3 × 3 kernels at 4 × 4 places: of 12 × 12 products along both axes 10 × 10 meet a pixel
    assert flops.expected("jax", Convolution(5), (4, 4, 2)) == pytest.approx(100 / 144)
    assert flops.expected("jax", Convolution(5, padding="valid"), (4, 4, 2)) == 1.0
