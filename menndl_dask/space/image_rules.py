"""Rules of image networks: which genes and ranges suit a problem, and how a network is repaired. Pure.

Few offspring are valid, so they are repaired here and not refused: connections that do not fit are dropped, sizes are
clipped to the image, layers that cannot read their input are removed, and networks that cost too much are narrowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from menndl_dask.errors import InfeasibleError, UserError
from menndl_dask.genome import layers as genes
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import Choice, Domain, Integer, PerAxis, with_rank
from menndl_dask.genome.gene import Gene, is_users
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import JOINS, MOST_READ, RULES, Layer, Shape
from menndl_dask.genome.shape import common_size, joined_shape
from menndl_dask.genome.topology import Sources, absolute
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Problem
from menndl_dask.space.stages import is_uneven

# windows are at most a third of the image and of so many pixels, or as large as their kind has them
_PART_OF_IMAGE, _LARGEST_WINDOW = 3, 64
_LARGEST_STRIDE = 4
_NARROWER = 0.6  # factor on all widths of a network that costs too much, again and again
Ranges = Mapping[type[Gene], Mapping[str, Domain]]


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that a network exceeds: the option that sets it, what it limits, and the two numbers."""

    option: str
    name: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"expected at most {self.limit:.4g} {self.name}, got {self.value:.4g}"


@dataclass(frozen=True, slots=True)
class ImageRules:
    """What makes layers a valid network for a problem: limits of its cost, the gene kinds that suit, and their ranges.

    The limits are as in `SearchSpace.image`; the ranges are the domains that differ from those of the kind. Random
    networks have the values of a field from its `usual` domain, where it has one, and so have most that mutations draw.
    """

    problem: Problem
    max_parameters: float
    max_flops: float
    max_memory_bytes: float
    kinds: tuple[type[Gene], ...] = ()
    ranges: Ranges = field(default_factory=dict)
    usual: Ranges = field(default_factory=dict)

    @classmethod
    def of(
        cls, problem: Problem, limits: tuple[float, float, float], *, extra: Sequence[type[Gene]], ranges: Ranges
    ) -> Self:
        """Return the rules that suit a problem."""
        for kind in extra:
            check_rules(kind)
        own = _ranges(problem, extra)
        merged = {kind: {**own.get(kind, {}), **ranges.get(kind, {})} for kind in {*own, *ranges}}
        kinds = tuple(dict.fromkeys((*_kinds(problem), *extra)))
        return cls(problem, *limits, kinds=kinds, ranges=merged, usual=_usual(problem, own, ranges))

    def violation(self, genome: Genome) -> str | None:
        """Return why no network can be built within the limits, in words; None if one can."""
        try:
            exceeded = self.exceeded(genome)
        except InfeasibleError as error:
            return str(error)
        return None if exceeded is None else str(exceeded)

    def exceeded(self, genome: Genome) -> Excess | None:
        """Return the first limit that the network of a genome exceeds; None if it exceeds none.

        Raises
        ------
        InfeasibleError
            If no network can be built.
        """
        cost = cost_of(genome, self.problem)
        evolved = (gene.batch_size for gene in genome.settings if isinstance(gene, Training))
        memory = cost.memory_bytes(next(evolved, self.problem.budget.batch_size))
        for option, name, value in (
            ("max_parameters", "parameters", cost.parameters),
            ("max_flops", "FLOPs forward", cost.flops_forward),
            ("max_memory_bytes", "bytes of memory", memory),
        ):
            if value > getattr(self, option):
                return Excess(option, name, value, getattr(self, option))
        return None

    def usual_domains(self, kind: type[Gene]) -> dict[str, Domain]:
        """Return the domains of a gene kind that suit the rank and size of the images."""
        return _ranges(self.problem, [kind])[kind]

    def repair(self, genome: Genome, minimum: int, maximum: int, rng: np.random.Generator) -> Genome:
        """Return a valid network near the given one, in canonical form.

        Raises
        ------
        InfeasibleError
            If repair does not lead to one.
        """
        repaired = genome
        for _ in range(2 + max(maximum, len(genome.folded()))):
            repaired = self._fit(repaired).canonical()
            # layers that are repeated count as one gene
            layers = [gene for gene in repaired.folded().genes if isinstance(gene, Layer)]
            sources = absolute([layer.inputs for layer in layers])
            if len(layers) > maximum:
                layers, sources = remove(layers, sources, int(rng.integers(len(layers))))
            elif len(layers) < minimum:
                kernels = int(self.ranges[genes.Convolution]["kernels"].sample(rng))
                addition = genes.Convolution(kernels, activation="relu")
                layers, sources = [*layers, addition], [*sources, (len(layers) - 1,)]
            else:
                return self._within_limits(repaired, minimum)
            repaired = Genome.connect(layers, sources, genome.settings)
        raise InfeasibleError(f"no network of {minimum} to {maximum} layers near this one")

    def to_dict(self) -> dict[str, Any]:
        """Return the limits as a plain dict."""
        return {name: getattr(self, name) for name in ("max_parameters", "max_flops", "max_memory_bytes")}

    def _fit(self, genome: Genome) -> Genome:
        """Repair connections and layers in order, each for the shapes that it reads."""
        views = self.problem.facts.input_shapes
        layers: list[Layer] = []
        sources: list[Sources] = []
        shapes: list[Shape] = []
        place: dict[int, int] = {-1 - v: -1 - v for v in range(len(views))}  # old index to new
        for i, (layer, node) in enumerate(zip(genome.layers, genome.sources, strict=True)):
            read = list(dict.fromkeys(place[s] for s in node if s in place)) or [len(layers) - 1]
            read = read if read[0] >= -len(views) else [-1]
            known = [shapes[s] if s >= 0 else views[-1 - s] for s in read]
            read, layer = _compatible(layer, read, known)
            known = [shapes[s] if s >= 0 else views[-1 - s] for s in read]
            fitted = self._fitted(layer, joined_shape(layer, known))
            if fitted is None and len(read) == 1:
                place[i] = read[0]
                continue
            fitted = fitted or genes.Activation("linear", inputs=layer.inputs, join=layer.join)
            layers.append(fitted)
            sources.append(tuple(read))
            shapes.append(tuple(fitted.output_shape(joined_shape(fitted, known))))
            place[i] = len(layers) - 1
        last = place.get(len(genome.layers) - 1, -1)
        if 0 <= last < len(layers) - 1 or (layers and last < 0):  # the last layer was removed: its source is the output
            layers.append(genes.Activation("linear"))
            sources.append((last,))
        return Genome.connect(layers, sources, genome.settings)

    def _fitted(self, layer: Layer, shape: Shape) -> Layer | None:
        """Return the layer, or one like it, that can read a tensor of this shape; None if there is none."""
        spatial, dense = shape[:-1], self.problem.by_pixel
        if not spatial and isinstance(layer, genes.Flatten):
            return None
        try:
            layer = layer.clipped(spatial, only_same=dense) if spatial else layer
            layer = layer.suited(shape)
            after = layer.output_shape(shape)
        except (InfeasibleError, ValueError):
            return None
        if dense and len(after) == 1:
            return None
        largest = self.problem.facts.input_shapes[0][:-1]
        enlarges = any(a > n for a, n in zip(after[:-1], spatial, strict=False))
        # an odd number of pixels, halved and doubled, is one more
        too_large = len(after) == len(shape) and any(a > m + 1 for a, m in zip(after, largest, strict=False))
        return None if enlarges and too_large else layer

    def _within_limits(self, genome: Genome, minimum: int) -> Genome:
        """Narrow a network that costs too much; pool before its first fully connected layer if that is not enough."""
        for attempt in range(14):
            if self.violation(genome) is None and len(genome.layers) >= minimum:
                return genome
            layers, sources = list(genome.layers), genome.sources
            dense = next((i for i, g in enumerate(layers) if isinstance(g, genes.FullyConnected)), None)
            if attempt == 4 and dense is not None and len(sources[dense]) == 1 and genes.GlobalPooling in self.kinds:
                layers, sources = insert(layers, sources, dense, genes.GlobalPooling("average"))
            narrowed = [self._narrowed(layer) for layer in layers]
            genome = self._fit(Genome.connect(narrowed, sources, genome.settings)).canonical()
        raise InfeasibleError(self.violation(genome) or "too few layers are left")

    def _narrowed(self, layer: Layer) -> Layer:
        own = layer.domains()
        name = next((name for name in ("kernels", "units") if name in own), None)
        if name is None:
            return layer
        domain = self.ranges.get(type(layer), {}).get(name) or own[name]
        return layer.replaced(**{name: domain.nearest(int(getattr(layer, name) * _NARROWER))})


def remove(layers: Sequence[Layer], sources: Sequence[Sources], victim: int) -> tuple[list[Layer], list[Sources]]:
    """Remove a layer; its readers read its first source instead."""
    first = sources[victim][0]

    def moved(source: int) -> int:
        source = first if source == victim else source
        return source - 1 if source > victim else source

    kept = [tuple(dict.fromkeys(moved(s) for s in node)) for i, node in enumerate(sources) if i != victim]
    return [layer for i, layer in enumerate(layers) if i != victim], kept


def insert(
    layers: Sequence[Layer], sources: Sequence[Sources], place: int, layer: Layer
) -> tuple[list[Layer], list[Sources]]:
    """Insert a layer between the one at `place` and its first source."""
    shifted = [tuple(s + 1 if s >= place else s for s in node) for node in sources]
    taken = shifted[place]
    shifted[place] = (place, *taken[1:])
    return [*layers[:place], layer, *layers[place:]], [*shifted[:place], (taken[0],), *shifted[place:]]


def check_rules(kind: type[Gene]) -> None:
    """Refuse a user's gene kind that lacks a method, before a search begins."""
    if kind in genes.KINDS:
        return
    if not issubclass(kind, Layer) or issubclass(kind, genes.KINDS):
        raise UserError(f"search space: {kind.__name__}: expected a gene kind that is derived from Layer itself")
    defined = {name for base in kind.__mro__[: kind.__mro__.index(Layer)] for name in vars(base)}
    if missing := [rule for rule in RULES if rule not in defined]:
        raise UserError(f"search space: gene kind {kind.__name__} lacks the method {' and '.join(missing)}")
    settings = math.prod(domain.size for domain in kind.domains().values())
    if not kind.has_read() and settings > MOST_READ:
        why = f"its fields have {settings:,.0f} settings, and up to {MOST_READ} can be tried"
        raise UserError(f"search space: gene kind {kind.__name__} lacks the method read: {why}")


def _compatible(layer: Layer, read: list[int], shapes: list[Shape]) -> tuple[list[int], Layer]:
    """Keep the sources that can be joined with the first one; concatenate those of which no values can be joined."""
    for join in dict.fromkeys((layer.join, JOINS[0])):
        kept, known = [read[0]], [shapes[0]]
        for s, shape in zip(read[1:], shapes[1:], strict=True):
            if shape[:-1] == shapes[0][:-1] or common_size([*known, shape], join) is not None:
                kept.append(s)
                known.append(shape)
        joined = layer if layer.join == join else replace(layer, join=join)
        if join == JOINS[0] or len({shape[-1] for shape in known} - {1}) < 2:
            break
    return kept, joined


def _kinds(problem: Problem) -> tuple[type[Gene], ...]:
    kinds: list[type[Gene]] = [genes.Convolution, genes.Pooling, genes.Dropout, genes.Activation, genes.Normalisation]
    if problem.rank <= 2:  # in 3-D, a depthwise convolution takes Keras many times as long as a plain one on a CPU
        kinds += [genes.SeparableConvolution, genes.DepthwiseConvolution]
    kinds.append(genes.SqueezeExcitation)
    if problem.by_pixel:
        return (*kinds, genes.Upsampling, genes.TransposedConvolution, genes.AttentionGate)
    return (*kinds, genes.GlobalPooling, genes.Flatten, genes.FullyConnected)


def _ranges(problem: Problem, extra: Sequence[type[Gene]]) -> dict[type[Gene], dict[str, Domain]]:
    """Return domains that suit the rank and size of the images."""
    found: dict[type[Gene], dict[str, Domain]] = {}
    for kind in dict.fromkeys((*_kinds(problem), *extra)):
        domains = {name: with_rank(domain, problem.rank) for name, domain in kind.domains().items()}
        if not is_users(kind):
            domains = {name: _suited(kind, name, domain, problem) for name, domain in domains.items()}
        found[kind] = domains
    return found


def _usual(problem: Problem, ranges: Ranges, given: Ranges) -> dict[type[Gene], dict[str, Domain]]:
    """Return the narrower domains of sizes that random networks have, where the user gave none."""
    found: dict[type[Gene], dict[str, Domain]] = {}
    for kind in ranges:
        for name, domain in kind.domains().items():
            if not isinstance(domain, PerAxis) or is_users(kind) or name in given.get(kind, {}):
                continue
            if (narrower := _usual_sizes(kind, name, domain, problem)) != ranges[kind][name]:
                found.setdefault(kind, {})[name] = narrower
    return found


def _suited(kind: type[Gene], name: str, domain: Domain, problem: Problem) -> Domain:
    if isinstance(domain, Choice):
        return _suited_choice(name, domain, problem)
    if not (isinstance(domain, PerAxis) and isinstance(domain.inner, Choice)):
        return domain
    extent = _extent(problem)
    values = tuple(v for v in domain.inner.values if v <= extent) or domain.inner.values[:1]
    if name == "stride":
        return replace(domain, inner=Choice(tuple(sorted({*values, *range(1, min(_LARGEST_STRIDE, extent) + 1)}))))
    if (name == "kernel_size" or (kind, name) == (genes.Pooling, "size")) and len(values) > 1:
        # in volumes, where large windows cost most, along the shortest axis
        length = extent if problem.rank == 3 else max(max(shape[:-1]) for shape in problem.facts.input_shapes)
        largest = max(values[-1], min(length // _PART_OF_IMAGE, _LARGEST_WINDOW))
        return replace(domain, inner=Integer(values[0], largest, log=True))
    return replace(domain, inner=Choice(values))


def _usual_sizes(kind: type[Gene], name: str, domain: PerAxis, problem: Problem) -> Domain:
    """Return the sizes that hand-made networks have: kernels of a few pixels, an image that is halved."""
    if not isinstance(domain.inner, Choice):
        return domain
    values = tuple(v for v in domain.inner.values if v <= _extent(problem)) or domain.inner.values[:1]
    if name in ("stride", "size"):
        values = tuple(v for v in values if v <= (2 if name == "stride" else 3))
    # to leave the size of an image along one axis as it is makes sense where the axes differ, such as in volumes
    by_axis = {genes.TransposedConvolution: ("kernel_size", "stride"), genes.DepthwiseConvolution: ("kernel_size",)}
    if (name == "size" or name in by_axis.get(kind, ())) and not is_uneven(problem):
        values = tuple(v for v in values if v > 1) or values[:1]
    return PerAxis(Choice(values), problem.rank)


def _extent(problem: Problem) -> int:
    """Return the pixels along the shortest axis of an image."""
    return max(2, min(min(shape[:-1]) for shape in problem.facts.input_shapes))


def _suited_choice(name: str, domain: Choice, problem: Problem) -> Domain:
    dense = problem.by_pixel
    if name == "bias":
        return Choice((True,))  # a bias costs so little that a choice without it is not worth searching
    if name == "groups":
        return Choice((1,))  # on a CPU, Keras needs many times as long for several groups as for one
    if name == "padding" and dense:
        return Choice(("same",))
    if name == "interpolation" and problem.rank != 2:
        return Choice(("nearest",))
    if "instance" in domain.values and not dense:
        # after it, the means over the image that the head reads would be the same for all images
        return Choice(tuple(v for v in domain.values if v != "instance"))
    return domain

