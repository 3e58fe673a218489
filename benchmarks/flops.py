"""FLOPs from the genome beside those that TensorFlow, JAX and PyTorch count, for the layers of random networks.

    python -m benchmarks.flops
    python -m benchmarks.flops --networks 16 --counters tensorflow

Networks are drawn in turn from eight spaces. Each of their layers with weights is built alone, without bias,
normalisation and activation, and its forward pass for one sample is counted: what is left are products with weights and
their sums, a multiplication and an addition as two FLOPs. Counters of frameworks that are not installed are left out.
Each counter runs in a process of its own:

* ``tensorflow``: `tf.compat.v1.profiler`, on the graph;
* ``jax``: `cost_analysis` of the lowered function, before it is compiled;
* ``torch``: `torch.utils.flop_counter.FlopCounterMode`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask.genome.domain import spread
from menndl_dask.genome.layers import SeparableConvolution, TransposedConvolution, Weighted
from menndl_dask.genome.layers.weighted import SlidingKernel
from menndl_dask.genome.shape import walk
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

COUNTERS = ("tensorflow", "jax", "torch")
_CLOSE = 0.01  # of the FLOPs from the genome
Shape = tuple[int, ...]
Case = tuple[Weighted, Shape]  # a layer, and the shape that it reads
Drawn = tuple[str, list[Case]]  # a network: the name of its space, and its layers with weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 if a layer differs that the page does not explain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=200)
    parser.add_argument("--counters", nargs="+", choices=COUNTERS, default=COUNTERS)
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keeps counts, which are not counted again")
    parser.add_argument("--child", choices=COUNTERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    networks = list(drawn(options.networks))
    cases = list(dict.fromkeys(case for _, found in networks for case in found))
    if options.child:
        import keras

        # JAX compiles the random numbers of each new shape, and no counter looks at them
        keras.initializers.VarianceScaling.__call__ = lambda self, shape, dtype=None: np.zeros(shape, "float32")
        count = counter(options.child)
        print(json.dumps([count(layer, shape) for layer, shape in cases]))
        return 0
    names = [name for name in options.counters if importlib.util.find_spec(name)]
    counted = {name: dict(zip(cases, _counts(name, options.networks, options.work), strict=True)) for name in names}
    print(f"{len(networks)} networks of {len(SPACES)} spaces, {len(cases)} different layers\n")
    _print_layers(cases, counted)
    _print_networks(networks, counted)
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", *names))
    print(f"\nPython {platform.python_version()}, {versions}, {time.strftime('%d %B %Y')}")
    unexplained = [case for name in names for case, flops in counted[name].items() if not agrees(name, case, flops)]
    for layer, shape in unexplained:
        print(f"not explained: {layer} on {shape}")
    return 1 if unexplained else 0


def _space(task: str, *shapes: Shape, outputs: int = 4, **settings: Any) -> SearchSpace:
    of = problem(task, shapes, outputs)
    space = SearchSpace.image(of, max_parameters=2e6, **settings)
    assert space.rules is not None
    # every window, stride and dilation of a kind, not only the usual ones
    wide = {kind: {name: space.domain(kind, name) for name in names} for kind, names in space.rules.usual.items()}
    return SearchSpace.image(of, max_parameters=2e6, ranges=wide, **settings)


SPACES: dict[str, Callable[[], SearchSpace]] = {
    "classes of 2-D images": lambda: _space("classification", (32, 32, 3)),
    "numbers of 2-D images": lambda: _space("regression", (28, 20, 1), outputs=2),
    "pixels of 2-D images": lambda: _space("segmentation", (48, 48, 2)),
    "pixels of odd 2-D images": lambda: _space("segmentation", (21, 13, 1)),
    "classes of 1-D signals": lambda: _space("classification", (128, 3)),
    "classes of volumes": lambda: _space("classification", (8, 12, 10, 1)),
    "pixels of volumes": lambda: _space("segmentation", (8, 16, 16, 1)),
    "two views": lambda: _space("classification", (16, 16, 1), (12, 20, 2)),
}


def drawn(count: int) -> Iterator[Drawn]:
    """Yield networks of the spaces in turn: the name of the space, and the layers with weights as they are counted."""
    spaces = {name: make() for name, make in SPACES.items()}
    for seed in range(count):
        name = list(spaces)[seed % len(spaces)]
        space = spaces[name]
        assert space.rules is not None
        genome = space.sample(np.random.default_rng([20, seed])).canonical()
        walked = walk(genome, space.rules.problem.facts.input_shapes)
        yield name, [(bare(layer), before) for layer, _, before, _ in walked if isinstance(layer, Weighted)]


def bare(layer: Weighted) -> Weighted:
    """Return the layer with the products alone."""
    return layer.replaced(activation="linear", normalisation="none", bias=False, inputs=(1,), join="concatenate")


def counter(name: str) -> Callable[[Weighted, Shape], float]:
    """Return the function that counts with a framework, which must be Keras's backend."""
    import keras

    assert keras.backend.backend() == name
    count = {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}[name]

    def counted(layer: Weighted, shape: Shape) -> float:
        image = keras.Input(shape)
        return count(keras.Model(image, layer.build(image, "layer", lambda: 0)), (1, *shape))

    return counted


def _by_tensorflow(model: Any, shape: Shape) -> float:
    import tensorflow as tf

    traced = tf.function(lambda images: model(images, training=False))
    graph = traced.get_concrete_function(tf.TensorSpec(shape, "float32")).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output()
    return float(profiler.profile(graph, options=options.build()).total_float_ops)


def _by_jax(model: Any, shape: Shape) -> float:
    import jax

    weights = [weight.value for weight in model.trainable_variables]

    def forward(values: Any, images: Any) -> Any:
        return model.stateless_call(values, [], images, training=False)[0]

    lowered = jax.jit(forward).lower(weights, np.zeros(shape, "float32"))
    return float(lowered.cost_analysis()["flops"])


def _by_torch(model: Any, shape: Shape) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        model(torch.zeros(shape), training=False)
    return float(counted.get_total_flops())


def expected(name: str, layer: Weighted, shape: Shape) -> float:
    """Return the factor by which a counter is known to count otherwise for a layer; the page explains them."""
    if name == "jax":
        return _met(layer, shape)
    if name == "tensorflow":
        return _by_space_to_batch(layer, shape)
    return 1.0


def _met(layer: Weighted, shape: Shape) -> float:
    """Return the share of products of a weight with a pixel, not with a zero of the border, that reach the output."""
    rank, after = len(shape) - 1, layer.output_shape(shape)
    if isinstance(layer, TransposedConvolution):
        axes = zip(shape[:-1], after, spread(layer.kernel_size, rank), spread(layer.stride, rank), strict=False)
        return math.prod(_kept(*axis, padded=layer.padding == "same") for axis in axes)
    if not isinstance(layer, SlidingKernel):
        return 1.0
    share = 1.0
    settings = (spread(each, rank) for each in (layer.kernel_size, layer.stride, layer.dilation))
    for n, out, window, k, s, d in zip(shape[:-1], after, layer.windows(shape[:-1]), *settings, strict=False):
        pixels = [s * i + window.first + d * j for i in range(out) for j in range(k)]
        share *= sum(0 <= pixel < n for pixel in pixels) / len(pixels)
    return _of_both(layer, shape, share)


def _of_both(layer: SlidingKernel, shape: Shape, factor: float) -> float:
    """Return the factor of a layer where it is that of its kernels that slide: second ones may be single pixels."""
    if not isinstance(layer, SeparableConvolution):
        return factor
    area = layer.kernel_area(shape)
    return (factor * area + layer.kernels) / (area + layer.kernels)


def _kept(n: int, after: int, k: int, s: int, *, padded: bool) -> float:
    """Return the share of products of a transposed convolution along an axis that are not cropped away."""
    first = max(0, (n - 1) * s + k - after) // 2 if padded else 0
    places = [i * s + j - first for i in range(n) for j in range(k)]
    return sum(0 <= place < after for place in places) / len(places)


def _by_space_to_batch(layer: Weighted, shape: Shape) -> float:
    """Return by how much TensorFlow enlarges an image to divide it into one for each pixel of a dilation."""
    if isinstance(layer, TransposedConvolution):
        return 0.0 if len(shape) == 4 else 1.0  # it has no rule for that of volumes
    if not isinstance(layer, SlidingKernel) or max(layer.dilation) == 1:
        return 1.0
    after, dilation = layer.output_shape(shape)[:-1], spread(layer.dilation, len(shape) - 1)
    return _of_both(layer, shape, math.prod(d * -(-n // d) / n for n, d in zip(after, dilation, strict=True)))


def agrees(name: str, case: Case, counted: float) -> bool:
    """Tell whether a count is within 1 % of the genome's times the known factor."""
    ours = case[0].product_flops(case[1])
    return abs(counted / ours - expected(name, *case)) <= _CLOSE


def _print_layers(cases: Sequence[Case], counted: dict[str, dict[Case, float]]) -> None:
    """Print for each kind and counter how many layers agree as they are, and the ratios of the others."""
    kinds: dict[tuple[str, int], list[Case]] = defaultdict(list)
    for layer, shape in cases:
        kinds[type(layer).__name__, len(shape) - 1].append((layer, shape))
    print("| kind | axes | layers | " + " | ".join(counted) + " |")
    print("| --- | ---: | ---: | " + " | ".join("---" for _ in counted) + " |")
    for (kind, rank), members in sorted(kinds.items()):
        row = [kind, str(rank), str(len(members))]
        for of in counted.values():
            ratios = np.array([of[case] / case[0].product_flops(case[1]) for case in members])
            off = np.abs(ratios - 1) > _CLOSE
            others = f"; {off.sum()}: {ratios[off].min():.2f} to {ratios[off].max():.2f}" if off.any() else ""
            row.append(f"{len(members) - off.sum()} within 1 %{others}")
        print(f"| {' | '.join(row)} |")


def _print_networks(networks: Sequence[Drawn], counted: dict[str, dict[Case, float]]) -> None:
    """Print for each space the ratios of whole networks, as counted and after division by the known factors."""
    print("\n| space | networks | " + " | ".join(f"{name} | explained" for name in counted) + " |")
    print("| --- | ---: | " + " | ".join("--- | ---" for _ in counted) + " |")
    for space in SPACES:
        members = [cases for name, cases in networks if name == space and cases]
        row = [space, str(len(members))]
        for name, of in counted.items():
            totals = [sum(layer.product_flops(shape) for layer, shape in cases) for cases in members]
            known = [sum(c[0].product_flops(c[1]) * expected(name, *c) for c in cases) for cases in members]
            sums = [sum(of[case] for case in cases) for cases in members]
            for given in (totals, known):
                ratios = [a / b if b else 1.0 for a, b in zip(sums, given, strict=True)]
                row.append(f"{min(ratios):.3f} to {max(ratios):.3f}")
        print(f"| {' | '.join(row)} |")


def _counts(name: str, networks: int, work: Path | None) -> list[float]:
    """Return the counts of a child process for all layers, or those that an earlier one has left."""
    kept = None if work is None else work / f"{name}-{networks}.json"
    if kept is not None and kept.exists():
        text = kept.read_text(encoding="utf-8")
    else:
        command = [sys.executable, "-m", "benchmarks.flops", "--networks", str(networks), "--child", name]
        environment = {**os.environ, "KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
        text = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        if kept is not None:
            kept.write_text(text.splitlines()[-1], encoding="utf-8")
    found: list[float] = json.loads(text.splitlines()[-1])
    return found


if __name__ == "__main__":
    raise SystemExit(main())
