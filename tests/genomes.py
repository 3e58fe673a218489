"""Genomes for tests of what is pure: any graph of layers, and what a network computes, written in symbols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    DepthwiseConvolution,
    Dropout,
    Flatten,
    FullyConnected,
    GlobalPooling,
    Normalisation,
    Pooling,
    SqueezeExcitation,
    Upsampling,
    Weighted,
)
from menndl_dask.genome.topology import Sources

_LAYERS: tuple[Layer, ...] = (
    Convolution(2, (3,)),
    Convolution(2, (5,)),
    Convolution(2, (1,), padding="valid", activation="linear"),
    Convolution(4, (3,), activation="linear", normalisation="batch"),
    Convolution(2, (3,), groups=2),
    Convolution(4, (3,), normalisation="group"),
    DepthwiseConvolution(multiplier=2),
    FullyConnected(2, activation="linear"),
    Activation("linear"),
    Activation("linear"),
    Activation("relu"),
    Normalisation("layer"),
    Normalisation("group"),
    Normalisation("none"),
    Dropout(0.0),
    Dropout(0.5),
    SqueezeExcitation(),
    Pooling((1,), (1,)),
    Pooling((2, 2), (2,)),
    Upsampling(),
    Flatten(),
    GlobalPooling("average"),
)


@st.composite
def graphs(draw: st.DrawFn, largest: int = 9, views: int = 2) -> Genome:
    """Draw any graph of layers, whether its shapes fit or not."""
    layers: list[Layer] = []
    sources: list[Sources] = []
    for i in range(draw(st.integers(1, largest))):
        layer = draw(st.sampled_from(_LAYERS))
        read = draw(st.lists(st.integers(max(-views, i - 5), i - 1), min_size=1, max_size=3))
        layers.append(replace(layer, join=draw(st.sampled_from(("add", "concatenate")))))
        sources.append(tuple(read))
    return Genome.connect(layers, sources)


def renumbered(genome: Genome, rng: np.random.Generator) -> Genome:
    """Return the same graph with its layers in another order; the output stays last. All layers must be live."""
    sources = genome.sources
    placed: dict[int, int] = {}
    waiting = list(range(len(sources)))
    while waiting:
        ready = [i for i in waiting if all(s < 0 or s in placed for s in sources[i])]
        chosen = ready[rng.integers(len(ready))]
        placed[chosen] = len(placed)
        waiting.remove(chosen)
    order = sorted(placed, key=placed.__getitem__)
    moved = [tuple(placed[s] if s >= 0 else s for s in sources[i]) for i in order]
    return Genome.connect([genome.layers[i] for i in order], moved, genome.settings)


def shuffled(genome: Genome, rng: np.random.Generator, *, only_free: bool) -> Genome:
    """Return the genome with the sources of each layer in another order; maybe only where weights mix or it adds."""
    sources = [
        tuple(int(s) for s in rng.permutation(node))
        if not only_free or layer.join == "add" or layer.channel_role in ("mixed", "grouped")
        else node
        for layer, node in zip(genome.layers, genome.sources, strict=True)
    ]
    return Genome.connect(genome.layers, sources, genome.settings)


class UnfitError(Exception):
    """Tensors of different widths cannot be added."""


def in_symbols(genome: Genome) -> Any:
    """Return what the network computes, one expression for each channel, weights left out.

    Written without a look at how the canonical form is found: whoever says that two genomes are the same
    network must not contradict this. A source that is named twice counts once, as documented.
    """
    layers, sources = genome.layers, genome.sources
    tensors: dict[int, list[Any]] = {-1 - v: [("view", v, 0), ("view", v, 1)] for v in range(8)}
    same: dict[int, int] = {}  # a layer that does nothing is the one that it reads
    for i, layer in enumerate(layers):
        node = list(dict.fromkeys(same.get(s, s) for s in sources[i]))
        if layer.is_identity and len(node) == 1:
            same[i] = node[0]
            continue
        tensors[i] = _computed(layer, _joined(layer, [tensors[s] for s in node]))
    last = len(layers) - 1
    return sorted(map(_without_average, tensors[same.get(last, last)]), key=repr)


def _joined(layer: Layer, given: Sequence[list[Any]]) -> list[Any]:
    if len(given) == 1 or layer.join == "concatenate":
        return [channel for tensor in given for channel in tensor]
    if len({len(tensor) for tensor in given}) > 1:
        raise UnfitError
    return [_sum(terms) for terms in zip(*given, strict=True)]


def _sum(terms: Sequence[Any]) -> Any:
    flat = [t for term in terms for t in (term[1] if term[0] == "+" else (term,))]
    return "+", tuple(sorted(flat, key=repr))


def _computed(layer: Layer, channels: list[Any]) -> list[Any]:
    layer = replace(layer.simplified(), inputs=(1,), join="concatenate")
    if layer.is_identity:
        return channels
    if isinstance(layer, Flatten):
        return channels if _is_flat(channels) else [("flat", tuple(channels))]
    if not isinstance(layer, Weighted):
        return _normalised(layer.method, channels) if isinstance(layer, Normalisation) else _each(layer, channels)
    bare = replace(layer, activation="linear", normalisation="none")
    if isinstance(layer, DepthwiseConvolution):
        made = [(repr(bare), channel) for channel in channels for _ in range(layer.multiplier)]
    elif isinstance(layer, Convolution) and layer.groups > 1:
        made = _in_groups(bare, channels)
    else:
        if isinstance(layer, FullyConnected) and _is_flat(channels):
            channels = list(channels[0][1])
        mixed = (repr(bare), tuple(sorted(channels, key=repr)))
        made = [mixed] * (getattr(layer, "kernels", 0) or getattr(layer, "units", 0))
    if layer.normalisation != "none":
        made = _normalised(layer.normalisation, made)
    return made if layer.activation == "linear" else _each(Activation(layer.activation), made)


def _each(layer: Layer, channels: list[Any]) -> list[Any]:
    return [(repr(layer), channel) for channel in channels]


def _normalised(method: str, channels: list[Any]) -> list[Any]:
    named = _each(Normalisation(method), channels)
    # by groups, a channel depends on its neighbours, too
    return [(*one, place, tuple(channels)) for place, one in enumerate(named)] if method == "group" else named


def _in_groups(layer: Any, channels: list[Any]) -> list[Any]:
    if len(channels) % layer.groups:
        raise UnfitError
    size = len(channels) // layer.groups
    groups = [channels[i : i + size] for i in range(0, len(channels), size)]
    mixed = [(repr(layer), tuple(sorted(group, key=repr))) for group in groups]
    return [one for one in mixed for _ in range(layer.kernels // layer.groups)]


def _is_flat(channels: list[Any]) -> bool:
    return len(channels) == 1 and channels[0][0] == "flat"


def _without_average(channel: Any) -> Any:
    while channel[0] == repr(GlobalPooling("average")):
        channel = channel[1]
    return channel
