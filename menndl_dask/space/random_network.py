"""Random networks that resemble hand-made ones. Pure.

Many networks whose genes are drawn independently do not learn (about half of those that MENNDL evaluated on one
physics data set). So random networks consist of motifs: plain, residual and parallel convolutions, stages that halve
the image and widen, a U for segmentation. A field that the motif leaves open is drawn from its domain. Evolution may
leave the motifs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from menndl_dask.genome import layers as genes
from menndl_dask.genome.gene import Gene, is_users
from menndl_dask.genome.layer import Layer, Shape
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.stages import Stage, stages, usual_normalisation

Samplers = Mapping[type[Gene], Callable[[np.random.Generator], Gene]]
_ACTIVATIONS = ("relu", "relu", "elu", "gelu", "silu", "leaky_relu", "tanh")
_NORMALISED = 0.6  # share of networks with a normalisation in their style
_GATED = 0.1  # share of residual blocks with squeeze-and-excitation, and of skip connections with an attention gate
_LEAST_OF_TOWER, _LEAST_OF_U = 3, 4  # pixels along an axis that are left when it is halved


def random_network(
    problem: Problem, samplers: Samplers, minimum: int, maximum: int, rng: np.random.Generator
) -> tuple[Layer, ...]:
    """Return the layers of a random network for a problem; their number may miss the bounds by a few.

    `samplers` has a function for each gene kind that may be used, which returns a random gene of it.
    """
    target = int(rng.integers(minimum, max(minimum, round(0.8 * maximum)) + 1))
    sampler = NetworkSampler(problem, samplers, rng)
    if problem.by_pixel:
        sampler.dense(target)
    else:
        sampler.summarising(target)
    return sampler.genome().layers


class NetworkSampler(NetworkBuilder):
    """The layers of a random network so far, and the style that they share."""

    def __init__(self, problem: Problem, samplers: Samplers, rng: np.random.Generator) -> None:
        super().__init__()
        self.problem, self.samplers, self.rng = problem, samplers, rng
        self.stage = stages(problem, ())[0]
        self.width = round(8 * 2 ** rng.uniform(0, 2.5))
        self.style = {
            "activation": _ACTIVATIONS[rng.integers(len(_ACTIVATIONS))],
            "normalisation": usual_normalisation(problem) if rng.random() < _NORMALISED else "none",
        }

    def sample(self, kind: type[Gene], *sources: int, **fields: Any) -> int:
        """Add a layer that reads `sources` (the last layer by default); return its index.

        Fields that are not given are random.
        """
        if kind in self.samplers:
            drawn = self.samplers[kind](self.rng)
            known = kind.domains()
            drawn = drawn.replaced(**{k: v for k, v in fields.items() if k in known or k == "join"})
        else:
            drawn = kind(**fields)
        assert isinstance(drawn, Layer)
        return self.add(drawn, *sources)

    def convolve(self, *sources: int, **fields: Any) -> int:
        """Add a convolution at full resolution in the network's style."""
        kind: type[Gene] = genes.Convolution
        if genes.SeparableConvolution in self.samplers and self.rng.random() < 0.15:
            kind = genes.SeparableConvolution
        style = self.style if self.rng.random() < 0.8 else {}
        varied = round(self.width * 2 ** self.rng.normal(0, 0.2))
        given = {"kernels": max(4, varied), "stride": (1,), "padding": "same", **style, **fields}
        if self.rng.random() < 0.8:
            given.setdefault("dilation", (1,))
        if self.rng.random() < 0.6:
            given.setdefault("kernel_size", self.stage.window)
        return self.sample(kind, *sources, **given)

    def residual(self) -> int:
        """Add two convolutions in a row whose output is added to their input."""
        stem = self.convolve(kernels=self.width)
        self.convolve(kernels=self.width)
        last = self.convolve(kernels=self.width, activation="linear")
        if genes.SqueezeExcitation in self.samplers and self.rng.random() < _GATED:
            last = self.sample(genes.SqueezeExcitation)
        return self.sample(genes.Activation, last, stem, join="add", function=self.style["activation"])

    def branches(self) -> int:
        """Add two or three parallel convolutions, and their concatenation."""
        tip = len(self.layers) - 1
        number = int(self.rng.integers(2, 4))
        ends = [
            self.convolve(tip, kernel_size=(size,), kernels=max(4, self.width // number))
            for size in (1, 3, 5)[:number]
        ]
        return self.sample(genes.Activation, *ends, function="linear")

    def shrink(self, stage: Stage) -> int:
        """Halve the image by pooling or a strided convolution, and widen."""
        if self.rng.random() < 0.7:
            tip = self.sample(genes.Pooling, size=stage.step, stride=stage.step, padding="same")
        else:
            tip = self.convolve(stride=stage.step, dilation=(1,))
        self.stage = stage
        self.width = round(self.width * self.rng.choice([1.0, 1.5, 2.0]))
        return tip

    def block(self, room: int) -> None:
        """Add one motif of at most `room` layers."""
        at = self.rng.random()
        if at < 0.2 and room >= 4:
            self.residual()
        elif at < 0.3 and room >= 4:
            self.branches()
        elif at < 0.36:
            self.sample(genes.Dropout)
        elif at < 0.5 and (users := [kind for kind in self.samplers if is_users(kind)]):
            self.sample(users[self.rng.integers(len(users))])
        else:
            self.convolve()

    def summarising(self, target: int) -> None:
        """Add a network for classification or regression: stages of blocks, then fully connected layers."""
        views = self.problem.facts.input_shapes
        tail = int(self.rng.integers(0, 3)) if target > 3 else 0
        share = max(1, (target - tail) // len(views))
        ends = [self.tower(-1 - v, share, shape[:-1]) for v, shape in enumerate(views)]
        if len(views) > 1:
            self.sample(genes.Activation, *ends, function="linear")
        for i in range(tail):
            units = round(16 * 2 ** self.rng.uniform(0, 4))
            self.sample(genes.FullyConnected, units=units, **self.style)
            if i == 0 and self.rng.random() < 0.4:
                self.sample(genes.Dropout)

    def tower(self, view: int, target: int, size: Shape) -> int:
        """Add the layers that one view passes."""
        start = len(self.layers)
        self.stage = Stage.first(self.problem, size)
        self.convolve(view)
        while len(self.layers) - start < target:
            room = target - (len(self.layers) - start)
            following = self.stage.halved(_LEAST_OF_TOWER)
            if following is not None and self.rng.random() < 0.35:
                self.shrink(following)
            else:
                self.block(room)
        if len(self.problem.facts.input_shapes) > 1 or self.rng.random() < 0.3:
            return self.sample(genes.GlobalPooling)
        return len(self.layers) - 1

    def dense(self, target: int) -> None:
        """Add a network for segmentation: a U, or blocks at full resolution with growing dilation."""
        views = tuple(-1 - v for v in range(len(self.problem.facts.input_shapes)))
        self.convolve(*views)
        below = stages(self.problem, (_LEAST_OF_U,) * 3)[1:]
        if self.rng.random() < 0.65 and below and target >= 6:
            depth = min(int(self.rng.integers(1, len(below) + 1)), max(1, target // 5))
            self.u_shape(below[:depth])
            return
        dilation = 1
        while len(self.layers) < target:
            self.block(target - len(self.layers))
            dilation = min(4, dilation * 2) if self.rng.random() < 0.4 else dilation
            if dilation > 1 and len(self.layers) < target:
                self.convolve(dilation=(dilation,), kernel_size=(3,))

    def u_shape(self, below: Sequence[Stage]) -> None:
        """Add an encoder with these stages, and a decoder that reads the encoder's stages again."""
        skips, widths, above = [], [], [self.stage, *below]
        for stage in below:
            skips.append(self.convolve() if self.rng.random() < 0.5 else len(self.layers) - 1)
            widths.append(self.width)
            self.sample(genes.Pooling, size=stage.step, stride=stage.step, padding="same")
            self.stage = stage
            self.width = round(self.width * self.rng.choice([1.0, 1.5, 2.0]))
        self.convolve()
        for place in reversed(range(len(below))):
            self.width, step = widths[place], below[place].step
            self.stage = above[place]
            if self.rng.random() < 0.7:
                up = self.sample(genes.Upsampling, size=step)
            else:
                up = self.sample(genes.TransposedConvolution, stride=step, kernels=self.width, **self.style)
            self.convolve(*self.skipped(up, skips[place]))
            if self.rng.random() < 0.4:
                self.convolve()

    def skipped(self, up: int, skip: int) -> tuple[int, ...]:
        """Return what a decoder's stage reads: the stage below and mostly the encoder's, perhaps through a gate."""
        if self.rng.random() >= 0.85:
            return (up,)
        if genes.AttentionGate in self.samplers and self.rng.random() < _GATED:
            return (self.sample(genes.AttentionGate, up, skip),)
        return up, skip

