"""Features: a genome of any length as a vector, so that similar networks are near each other. Pure.

The columns come in groups, each of which compares genomes in one respect: a field of a fixed gene; which kinds of genes
there are, with which values, in which part of the network, what reads what; length, depth and cost. The surrogate
learns a weight for each group. Any gene kind works, a user's too: the domains of its fields say how far values are
apart.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import InfeasibleError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import Choice, Domain, PerAxis, spread
from menndl_dask.genome.forms.cell import Cell, expanded
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.space.image_rules import ImageRules
from menndl_dask.space.space import SearchSpace

Floats = NDArray[np.float64]
_STEPS = 6  # columns of a number
_PARTS = 4  # of the variable part, from its front to its end
_PROJECTED = 24  # columns that a gene's values are projected to, to be compared part by part
_FIXED_GROUPS = 24  # groups for the fixed genes at most; with more fields each gene is a group
_COSTS = {"parameters": -3, "flops_forward": -2}  # columns of the costs that a genome tells, counted from the end
_CACHED = 4000  # genomes, or genes, whose features are cached


class Features:
    """Feature vectors of the genomes of a space.

    Parameters
    ----------
    space
        Search space of the genomes.

    Attributes
    ----------
    groups
        Names of the groups of columns.
    group_of_column
        Number of each column's group, shape (columns,).

    >>> from dataclasses import dataclass
    >>> from menndl_dask.genome.domain import choice
    >>> @dataclass(frozen=True, slots=True)
    ... class Edge(Gene):
    ...     operation: str = choice("none", "skip", "conv3")
    >>> features = Features(SearchSpace.slots([Edge] * 2))
    >>> first, second = features.of([Genome((Edge("none"), Edge("skip"))), Genome((Edge("none"), Edge("conv3")))])
    >>> features.groups, round(float(((first - second) ** 2).sum()), 6)
    (('0.operation', '1.operation', 'all Edge'), 1.5)
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._domains = {kind: tuple(space.domains(kind).items()) for kind in (*space.fixed, *space.kinds)}
        self._widths = {kind: sum(_width(d) for _, d in fields) for kind, fields in self._domains.items()}
        self._has_costs = isinstance(space.rules, ImageRules)
        self._genes: dict[Gene, Floats] = {}
        self._rows: dict[Gene, Floats] = {}
        self._cache: dict[str, Floats] = {}
        sizes = self._fixed_groups()
        kinds = len(space.kinds)
        if kinds:
            self._numbers = {kind: number for number, kind in enumerate(space.kinds)}
            ends = np.cumsum([self._widths[kind] for kind in space.kinds])
            self._starts = dict(zip(space.kinds, [0, *ends.tolist()], strict=False))
            self._width = max(1, int(ends[-1]))
            rng = np.random.default_rng(0)  # the same projection in every process
            self._projection = rng.standard_normal((self._width, _PROJECTED)) / math.sqrt(_PROJECTED)
            sizes |= {"kinds": kinds, "values": self._width}
            sizes |= {"kinds by part": _PARTS * kinds, "values by part": _PARTS * _PROJECTED}
            sizes |= {"links": (kinds + 1) ** 2, "shape": 5}
        if self._has_costs:
            sizes |= {"parameters": 1, "flops": 1, "memory": 1}
        self.groups = tuple(sizes)
        self.group_of_column = np.repeat(np.arange(len(sizes)), list(sizes.values()))

    def of(self, genomes: Sequence[Genome], cost_like: Floats | None = None) -> Floats:
        """Return the features of genomes, shape (genomes, columns).

        Parameters
        ----------
        genomes
            Genomes of the space, or such that are still to be repaired.
        cost_like
            Features of genomes that cost about the same, such as the parents, shape (genomes, columns): the costs,
            which take longest to compute, are taken from there.
        """
        cut = len(self._space.fixed)
        blocks: list[Floats] = []
        if cut:
            blocks += self._of_fixed([genome.genes[:cut] for genome in genomes])
        if self._space.kinds:
            blocks += self._of_variable([_without_cells(genome.genes[cut:]) for genome in genomes])
        if self._has_costs:
            blocks.append(np.array([self._costs(g) for g in genomes]) if cost_like is None else cost_like[:, -3:])
        return np.concatenate(blocks, axis=1)

    def cached(self, genomes: Sequence[Genome]) -> Floats:
        """Return the features of genomes that are asked for again and again, shape (genomes, columns)."""
        missing = {genome.key: genome for genome in genomes if genome.key not in self._cache}
        if missing:
            self._cache |= zip(missing, self.of(list(missing.values())), strict=True)
        found = np.stack([self._cache[genome.key] for genome in genomes])
        if len(self._cache) > _CACHED:
            self._cache = dict(list(self._cache.items())[_CACHED // 2 :])
        return found

    def known_cost(self, name: str, features: Floats) -> Floats | None:
        """Return the cost of that name, shape (genomes,); None if a genome doesn't tell it."""
        if not self._has_costs or name not in _COSTS:
            return None
        found: Floats = 10.0 ** features[:, _COSTS[name]] - 1.0
        return found

    def _fixed_groups(self) -> dict[str, int]:
        """Return the groups of the fixed genes with their numbers of columns."""
        fixed = self._space.fixed
        widths = {f"{i}.{name}": _width(d) for i, kind in enumerate(fixed) for name, d in self._domains[kind]}
        if len(widths) > _FIXED_GROUPS:
            each = [self._widths[kind] for kind in fixed]
            each = [*each[: _FIXED_GROUPS - 1], sum(each[_FIXED_GROUPS - 1 :])]
            widths = {str(i): width for i, width in enumerate(each)}
        place = np.repeat(np.arange(len(fixed)), [self._widths[kind] for kind in fixed])
        self._repeated: list[NDArray[np.intp]] = []  # for each kind that several genes have: their columns, a row each
        for kind in dict.fromkeys(fixed):
            if fixed.count(kind) > 1:
                self._repeated.append(np.array([np.flatnonzero(place == i) for i, k in enumerate(fixed) if k is kind]))
                widths[f"all {kind.__name__}"] = self._widths[kind]
        return widths

    def _of_fixed(self, fronts: Sequence[Sequence[Gene]]) -> list[Floats]:
        values = np.concatenate([self._values(gene) for front in fronts for gene in front]).reshape(len(fronts), -1)
        return [values, *(values[:, columns].sum(1) / math.sqrt(len(columns)) for columns in self._repeated)]

    def _of_variable(self, bodies: Sequence[Sequence[Gene]]) -> list[Floats]:
        """Return sums over the genes of each body, all of them and part by part."""
        width, kinds = self._width, len(self._space.kinds)
        empty = np.zeros(width + kinds + _PROJECTED)  # follows each body, so that there is a row in an empty one
        rows = np.stack([row for genes in bodies for row in (*map(self._row, genes), empty)])
        lengths = np.array([len(genes) for genes in bodies])
        starts = np.cumsum(lengths + 1) - lengths - 1
        shares = np.concatenate([_shares(length) for length in lengths.tolist()])
        sums = np.add.reduceat(rows[:, : width + kinds], starts, axis=0) / 2.0
        parts = np.add.reduceat(shares[:, :, None] * rows[:, None, width:], starts, axis=0)
        parts[:, :, kinds:] *= (2.0 / np.sqrt(np.maximum(1, lengths)))[:, None, None]
        return [
            sums[:, width:],
            sums[:, :width],
            parts[:, :, :kinds].reshape(len(bodies), -1),
            parts[:, :, kinds:].reshape(len(bodies), -1),
            np.array([self._links(genes) for genes in bodies]) / 2.0,
            np.array([self._shape(genes) for genes in bodies]),
        ]

    def _row(self, gene: Gene) -> Floats:
        """Return a gene's values among those of all kinds, its kind, and its values projected."""
        found = self._rows.get(gene)
        if found is None:
            values = self._values(gene)
            found = np.zeros(self._width + len(self._numbers) + _PROJECTED)
            start = self._starts[type(gene)]
            found[start : start + len(values)] = values
            found[self._width + self._numbers[type(gene)]] = 1.0
            found[-_PROJECTED:] = found[: self._width] @ self._projection
            if len(self._rows) > _CACHED:
                self._rows.clear()
            self._rows[gene] = found
        return found

    def _links(self, genes: Sequence[Gene]) -> NDArray[np.int64]:
        """Count which kind reads which; what lies outside is a kind of its own."""
        size = len(self._space.kinds) + 1
        numbers = [self._numbers[type(gene)] + 1 for gene in genes]
        found = [
            reader * size + (numbers[i - offset] if offset <= i else 0)
            for i, (gene, reader) in enumerate(zip(genes, numbers, strict=True))
            for offset in _inputs(gene)
        ]
        found += numbers[-1:]  # the output reads the last one
        return np.bincount(np.array(found, dtype=np.intp), minlength=size * size)

    def _shape(self, genes: Sequence[Gene]) -> list[float]:
        """Return length, depth, numbers of layers that join several others and that add them, and farthest reach."""
        depths: list[int] = []
        for i, gene in enumerate(genes):
            depths.append(1 + max((depths[i - offset] for offset in _inputs(gene) if offset <= i), default=0))
        joining = [gene for gene in genes if isinstance(gene, Layer) and len(gene.inputs) > 1]
        added = sum(gene.join == "add" for gene in joining)
        reach = max((max(gene.inputs) for gene in joining), default=0)
        longest = max(1, self._space.maximum)
        sizes = [3.0 * len(genes) / longest, 3.0 * max(depths, default=0) / longest]
        return [*sizes, len(joining) / 2, added / 2, reach / 6]

    def _costs(self, genome: Genome) -> list[float]:
        rules = self._space.rules
        assert isinstance(rules, ImageRules)
        try:
            cost = cost_of(genome, rules.problem)
        except InfeasibleError:  # not repaired yet
            return [0.0] * 3
        memory = cost.memory_bytes(rules.problem.budget.batch_size)
        return [math.log10(1.0 + value) for value in (cost.parameters, cost.flops_forward, memory)]

    def _values(self, gene: Gene) -> Floats:
        """Return the values of a gene, field by field."""
        found = self._genes.get(gene)
        if found is None:
            fields = [_embedded(domain, getattr(gene, name)) for name, domain in self._domains[type(gene)]]
            if len(self._genes) > _CACHED:
                self._genes.clear()
            found = self._genes[gene] = np.concatenate(fields) if fields else np.zeros(0)
        return found


def _without_cells(genes: Sequence[Gene]) -> Sequence[Gene]:
    """Return the genes with those of cells as often as they are repeated."""
    return expanded(genes)[0] if any(isinstance(gene, Cell) for gene in genes) else genes


def _inputs(gene: Gene) -> tuple[int, ...]:
    return gene.inputs if isinstance(gene, Layer) else (1,)


@lru_cache(maxsize=256)
def _shares(length: int) -> Floats:
    """Return how much each gene belongs to each part (it lies between two of them), and zeros in a last row."""
    places = np.linspace(0.0, _PARTS - 1.0, length) if length > 1 else np.full(length, (_PARTS - 1) / 2)
    shares = np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(_PARTS)))
    return np.concatenate([shares, np.zeros((1, _PARTS))])


def _width(domain: Domain) -> int:
    return len(_embedded(domain, domain.nearest(0)))


def _embedded(domain: Domain, value: Any) -> Floats:
    """Return a value as a vector; the squared distance of two is their distance in the domain, 0 to 1."""
    return _cached_embedding(cast(Hashable, domain), value)


@lru_cache(maxsize=65536)
def _cached_embedding(key: Hashable, value: Any) -> Floats:
    domain = cast(Domain, key)
    if isinstance(domain, PerAxis):
        axes = [_embedded(domain.inner, v) for v in spread(domain.nearest(value), domain.rank)]
        return np.concatenate(axes) / math.sqrt(domain.rank)
    value = domain.nearest(value)
    if isinstance(domain, Choice) and not (domain.ordered and len(domain.values) > 2):
        return np.array([v == value for v in domain.values], dtype=float) / math.sqrt(2.0)
    if isinstance(domain, Choice):
        steps = np.arange(len(domain.values) - 1) < domain.values.index(value)
        return steps / math.sqrt(len(steps))
    share = domain.distance(domain.nearest(-1e300), value)
    levels: Floats = np.clip(_STEPS * share - np.arange(_STEPS), 0.0, 1.0) / math.sqrt(_STEPS)
    return levels
