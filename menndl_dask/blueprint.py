"""Blueprints: random networks of the kind that people build. Pure.

Drawing every gene blindly gives mostly networks that learn nothing (about half of those that MENNDL
evaluated on one physics data set). So random networks are put together from motifs: plain, residual and
parallel convolutions, stages that halve the image and widen, a U for dense prediction. Every field that a
motif does not decide is drawn from its domain, and evolution is free to leave the motifs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from menndl_dask import layers as genes
from menndl_dask.gene import Gene, is_users
from menndl_dask.genome import Genome
from menndl_dask.network_layer import Layer
from menndl_dask.problem import Problem
from menndl_dask.topology import Sources

Drawers = Mapping[type[Gene], Callable[[np.random.Generator], Gene]]
_ACTIVATIONS = ("relu", "relu", "elu", "gelu", "silu", "leaky_relu", "tanh")


def random_network(
    problem: Problem, drawers: Drawers, minimum: int, maximum: int, rng: np.random.Generator
) -> tuple[Layer, ...]:
    """Draw the layers of a network for a problem; its length is near a number drawn between the bounds."""
    target = int(rng.integers(minimum, max(minimum, round(0.8 * maximum)) + 1))
    drawing = _Drawing(problem, drawers, rng, maximum)
    if problem.task == "segmentation":
        drawing.dense(target)
    else:
        drawing.summarising(target)
    return drawing.layers_read()


@dataclass(slots=True)
class _Drawing:
    """A network while it is drawn, with the style that its layers share."""

    problem: Problem
    drawers: Drawers
    rng: np.random.Generator
    maximum: int
    layers: list[Layer] = field(default_factory=list)
    sources: list[Sources] = field(default_factory=list)
    width: int = 16
    style: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.width = round(8 * 2 ** self.rng.uniform(0, 2.5))
        self.style = {
            "activation": _ACTIVATIONS[self.rng.integers(len(_ACTIVATIONS))],
            "normalisation": "batch" if self.rng.random() < 0.6 else "none",
        }

    def layers_read(self) -> tuple[Layer, ...]:
        """Return the layers with their connections."""
        return Genome.connect(self.layers, self.sources).layers

    def add(self, kind: type[Gene], *sources: int, **fields: Any) -> int:
        """Draw a layer that reads `sources` (the last layer by default); return its index."""
        if kind in self.drawers:
            drawn = self.drawers[kind](self.rng)
            known = kind.domains()
            drawn = drawn.replaced(**{k: v for k, v in fields.items() if k in known or k == "join"})
        else:
            drawn = kind(**fields)
        assert isinstance(drawn, Layer)
        self.layers.append(drawn)
        self.sources.append(sources or (len(self.layers) - 2,))
        return len(self.layers) - 1

    def convolve(self, *sources: int, **fields: Any) -> int:
        """Draw a convolution at full resolution in the network's style."""
        kind: type[Gene] = genes.Convolution
        if genes.SeparableConvolution in self.drawers and self.rng.random() < 0.15:
            kind = genes.SeparableConvolution
        style = self.style if self.rng.random() < 0.8 else {}
        varied = round(self.width * 2 ** self.rng.normal(0, 0.2))
        given = {"kernels": max(4, varied), "stride": (1,), "padding": "same", **style, **fields}
        if self.rng.random() < 0.8:
            given.setdefault("dilation", (1,))
        if self.rng.random() < 0.6:
            given.setdefault("kernel_size", (3,))
        return self.add(kind, *sources, **given)

    def residual(self) -> int:
        """Draw two convolutions whose result is added to a third that they both follow."""
        stem = self.convolve(kernels=self.width)
        self.convolve(kernels=self.width)
        last = self.convolve(kernels=self.width, activation="linear")
        return self.add(genes.Activation, last, stem, join="add", function=self.style["activation"])

    def branches(self) -> int:
        """Draw two or three parallel convolutions, to be concatenated."""
        tip = len(self.layers) - 1
        number = int(self.rng.integers(2, 4))
        ends = [
            self.convolve(tip, kernel_size=(size,), kernels=max(4, self.width // number))
            for size in (1, 3, 5)[:number]
        ]
        return self.add(genes.Activation, *ends, function="linear")

    def shrink(self) -> int:
        """Halve the image by pooling or a strided convolution, and widen."""
        if self.rng.random() < 0.7:
            tip = self.add(genes.Pooling, size=(2,), stride=(2,), padding="same")
        else:
            tip = self.convolve(stride=(2,), dilation=(1,))
        self.width = round(self.width * self.rng.choice([1.0, 1.5, 2.0]))
        return tip

    def block(self, room: int) -> None:
        """Draw one motif that fits into the room."""
        at = self.rng.random()
        if at < 0.2 and room >= 4:
            self.residual()
        elif at < 0.3 and room >= 4:
            self.branches()
        elif at < 0.36:
            self.add(genes.Dropout)
        elif at < 0.5 and (own := [kind for kind in self.drawers if is_users(kind)]):
            self.add(own[self.rng.integers(len(own))])  # a kind of the user's own
        else:
            self.convolve()

    def summarising(self, target: int) -> None:
        """Draw a network that ends in a few numbers: stages of blocks, then fully connected layers."""
        views = self.problem.facts.input_shapes
        tail = int(self.rng.integers(0, 3)) if target > 3 else 0
        share = max(1, (target - tail) // len(views))
        ends = [self.tower(-1 - v, share, min(shape[:-1])) for v, shape in enumerate(views)]
        if len(views) > 1:
            self.add(genes.Activation, *ends, function="linear")
        for i in range(tail):
            units = round(16 * 2 ** self.rng.uniform(0, 4))
            self.add(genes.FullyConnected, units=units, **self.style)
            if i == 0 and self.rng.random() < 0.4:
                self.add(genes.Dropout)

    def tower(self, view: int, target: int, extent: int) -> int:
        """Draw the layers that one view passes."""
        start = len(self.layers)
        self.convolve(view)
        while len(self.layers) - start < target:
            room = target - (len(self.layers) - start)
            if extent > 4 and self.rng.random() < 0.35:
                self.shrink()
                extent //= 2
            else:
                self.block(room)
        if len(self.problem.facts.input_shapes) > 1 or self.rng.random() < 0.3:
            return self.add(genes.GlobalPooling)
        return len(self.layers) - 1

    def dense(self, target: int) -> None:
        """Draw a network that ends in an image: a U, or blocks at full resolution with growing dilation."""
        views = tuple(-1 - v for v in range(len(self.problem.facts.input_shapes)))
        self.convolve(*views)
        extent = min(self.problem.facts.input_shapes[0][:-1])
        deepest = min(3, max(0, int(np.log2(extent)) - 2))
        if self.rng.random() < 0.65 and deepest > 0 and target >= 6:
            self.u_shape(min(int(self.rng.integers(1, deepest + 1)), max(1, target // 5)))
            return
        dilation = 1
        while len(self.layers) < target:
            self.block(target - len(self.layers))
            dilation = min(4, dilation * 2) if self.rng.random() < 0.4 else dilation
            if dilation > 1 and len(self.layers) < target:
                self.convolve(dilation=(dilation,), kernel_size=(3,))

    def u_shape(self, depth: int) -> None:
        """Draw an encoder and a decoder that reads the encoder's stages again."""
        skips, widths = [], []
        for _ in range(depth):
            skips.append(self.convolve() if self.rng.random() < 0.5 else len(self.layers) - 1)
            widths.append(self.width)
            self.add(genes.Pooling, size=(2,), stride=(2,), padding="same")
            self.width = round(self.width * self.rng.choice([1.0, 1.5, 2.0]))
        self.convolve()
        for skip, width in zip(reversed(skips), reversed(widths), strict=True):
            self.width = width
            if self.rng.random() < 0.7:
                up = self.add(genes.Upsampling, size=(2,))
            else:
                up = self.add(genes.TransposedConvolution, stride=(2,), kernels=width, **self.style)
            self.convolve(*((up, skip) if self.rng.random() < 0.85 else (up,)))
            if self.rng.random() < 0.4:
                self.convolve()
