"""Descriptors: a genome of any length as a vector, so that similar networks are near each other. Pure.

The squared distance of two descriptors is a sum over *groups* of columns, each of which compares the genomes in one
respect: a field of a fixed gene; which kinds of genes there are, with which values, in which part of the network, what
follows what; length, depth and cost. The surrogate learns what each respect counts. Any gene kind works, a user's too:
the fields' domains say how far values are apart.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from menndl_dask.cost import cost_of
from menndl_dask.domain import Choice, Domain, PerAxis, spread
from menndl_dask.errors import InfeasibleError
from menndl_dask.gene import Gene
from menndl_dask.genome import Genome
from menndl_dask.image import ImageRules
from menndl_dask.network_layer import Layer
from menndl_dask.space import SearchSpace

Floats = NDArray[np.float64]
_LEVELS = 6  # steps by which a number is told from another
_PARTS = 4  # of the variable part, from its front to its end
_KNOWN_COSTS = {"parameters": -3, "flops_forward": -2}  # their columns, counted from the end
_RESPECTS = 24  # groups at most for the fixed genes; fields are put together if there are more
_KEPT = 4000  # descriptors that are kept, for a while
_REMEMBERED = 10_000  # genes whose values are kept, for a while
_PROJECTED = 24  # columns that a gene's values are projected to where they are compared part by part


class Descriptor:
    """Turns genomes of a space into vectors.

    Parameters
    ----------
    space
        The space that the genomes are from.

    >>> from dataclasses import dataclass
    >>> from menndl_dask.domain import choice
    >>> @dataclass(frozen=True, slots=True)
    ... class Edge(Gene):
    ...     operation: str = choice("none", "skip", "conv3")
    >>> describe = Descriptor(SearchSpace.slots([Edge] * 2))
    >>> first, second = describe(Genome((Edge("none"), Edge("skip")))), describe(Genome((Edge("none"), Edge("conv3"))))
    >>> describe.groups, round(float(((first - second) ** 2).sum()), 6)
    (('0.operation', '1.operation', 'all Edge'), 1.5)
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._domains = {kind: tuple(space.domains(kind).items()) for kind in (*space.fixed, *space.kinds)}
        self._genes: dict[Gene, Floats] = {}
        self._kept: dict[str, Floats] = {}
        names = self._front_names()
        if space.kinds:
            names += ["kinds", "values", "kinds by part", "values by part", "links", "shape"]
            self._places, self._width = self._layout()
            rng = np.random.default_rng(0)  # of the projection: the same in every process
            self._projection = rng.standard_normal((self._width, _PROJECTED)) / math.sqrt(_PROJECTED)
            self._row_width = self._width + len(space.kinds) + _PROJECTED
            self._rows: dict[Gene, Floats] = {}
            self._nothing = np.zeros(self._row_width)
        self._costed = isinstance(space.rules, ImageRules)
        if self._costed:
            names += ["parameters", "flops", "memory"]
        self.groups = tuple(names)
        self.columns: NDArray[np.int64] | None = None

    def __call__(self, genome: Genome) -> Floats:
        """Return the descriptor of a genome of the space."""
        found: Floats = self.together([genome])[0]
        return found

    def kept(self, genome: Genome) -> Floats:
        """Return the descriptor of a genome, which is kept for a while."""
        found = self._kept.get(genome.key)
        if found is None:
            found = self(genome)
            if len(self._kept) > _KEPT:
                self._kept = dict(list(self._kept.items())[_KEPT // 2 :])
            self._kept[genome.key] = found
        return found

    def together(self, genomes: Sequence[Genome], like: Sequence[Floats] | None = None) -> Floats:
        """Return the descriptors of several genomes, one a row; each is what it would be by itself.

        Parameters
        ----------
        genomes
            Genomes of the space, or such that will be brought into it.
        like
            For each the descriptor of a genome that costs about the same, such as a parent; spares to compute costs.
        """
        blocks: list[Floats] = []
        if self._space.fixed:
            blocks += self._fronts([genome.genes[: len(self._space.fixed)] for genome in genomes])
        if self._space.kinds:
            blocks += self._bodies([genome.genes[len(self._space.fixed) :] for genome in genomes])
        if self._costed:
            costs = np.array([self._costs(genome) for genome in genomes] if like is None else [c[-3:] for c in like])
            blocks += [costs[:, :1], costs[:, 1:2], costs[:, 2:]]
        if self.columns is None:
            self.columns = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
        return np.concatenate(blocks, axis=1)

    def known_cost(self, name: str, points: Floats) -> Floats | None:
        """Return the cost of that name of described genomes, if a genome itself tells it."""
        if not self._costed or name not in _KNOWN_COSTS:
            return None
        found: Floats = 10.0 ** points[:, _KNOWN_COSTS[name]] - 1.0
        return found

    def _front_names(self) -> list[str]:
        """Return in which respects the fixed genes are compared, and note where the columns of each begin."""
        fixed = self._space.fixed
        fields = [(i, name, _size(domain)) for i, kind in enumerate(fixed) for name, domain in self._domains[kind]]
        sizes = np.array([size for *_, size in fields], dtype=np.int64)
        places = np.array([place for place, *_ in fields], dtype=np.int64)
        if len(fields) <= _RESPECTS:
            names, groups = [f"{i}.{name}" for i, name, _ in fields], np.arange(len(fields))
        else:
            names, groups = [str(i) for i in range(len(fixed))][:_RESPECTS], np.minimum(places, _RESPECTS - 1)
        self._starts = np.searchsorted(np.repeat(groups, sizes), np.arange(1, len(names)))
        kinds = np.repeat(places, sizes)
        repeated = [kind for kind in dict.fromkeys(fixed) if fixed.count(kind) > 1]
        of_kind = [[i for i, other in enumerate(fixed) if other is kind] for kind in repeated]
        self._repeated = [np.array([np.flatnonzero(kinds == i) for i in same], dtype=np.int64) for same in of_kind]
        return names + [f"all {kind.__name__}" for kind in repeated]

    def _fronts(self, fronts: Sequence[Sequence[Gene]]) -> list[Floats]:
        values = np.concatenate([self._vector(gene) for front in fronts for gene in front]).reshape(len(fronts), -1)
        sums = [values[:, columns].sum(1) / math.sqrt(len(columns)) for columns in self._repeated]
        return [*np.split(values, self._starts, axis=1), *sums]

    def _layout(self) -> tuple[dict[type[Gene], tuple[int, slice]], int]:
        """Return each kind's number and columns among the values of all kinds, and how many columns there are."""
        places, start = {}, 0
        for number, kind in enumerate(self._space.kinds):
            width = sum(_size(domain) for _, domain in self._domains[kind])
            places[kind] = (number, slice(start, start + width))
            start += width
        return places, max(1, start)

    def _bodies(self, bodies: Sequence[Sequence[Gene]]) -> list[Floats]:
        rows: list[Floats] = []
        starts = []
        for genes in bodies:
            starts.append(len(rows))
            rows += [self._row(gene) for gene in genes]
            rows.append(self._nothing)  # at the end of each, so that there is something to sum up in an empty one
        matrix = np.concatenate(rows).reshape(len(rows), self._row_width)
        kinds = len(self._space.kinds)
        sums = np.add.reduceat(matrix[:, : self._width + kinds], starts, axis=0) / 2.0
        shares = np.concatenate([_shares(len(genes)) for genes in bodies])
        parts = np.add.reduceat(shares[:, :, None] * matrix[:, None, self._width :], starts, axis=0)
        parts[:, :, kinds:] *= np.array([2.0 / math.sqrt(max(1, len(genes))) for genes in bodies])[:, None, None]
        return [
            sums[:, self._width :],
            sums[:, : self._width],
            parts[:, :, :kinds].reshape(len(bodies), -1),
            parts[:, :, kinds:].reshape(len(bodies), -1),
            self._links(bodies) / 2.0,
            np.array([self._shape(genes) for genes in bodies]),
        ]

    def _row(self, gene: Gene) -> Floats:
        """Return a gene's values among those of all kinds, its kind, and its values projected."""
        found = self._rows.get(gene)
        if found is None:
            number, columns = self._places[type(gene)]
            found = np.zeros(self._row_width)
            found[columns] = self._vector(gene)
            found[self._width + number] = 1.0
            found[self._width + len(self._places) :] = found[: self._width] @ self._projection
            if len(self._rows) > _REMEMBERED:
                self._rows.clear()
            self._rows[gene] = found
        return found

    def _links(self, bodies: Sequence[Sequence[Gene]]) -> Floats:
        """Count for each body which kind reads which; what lies outside is a kind of its own."""
        size = len(self._space.kinds) + 1
        found: list[int] = []
        for start, genes in zip(range(0, len(bodies) * size * size, size * size), bodies, strict=True):
            numbers = [self._places[type(gene)][0] + 1 for gene in genes]
            for i, gene in enumerate(genes):
                reader = start + numbers[i] * size
                offsets = gene.inputs if isinstance(gene, Layer) else (1,)
                found += [reader + numbers[i - offset] if offset <= i else reader for offset in offsets]
            if numbers:
                found.append(start + numbers[-1])
        counts = np.bincount(np.array(found, dtype=np.intp), minlength=len(bodies) * size * size)
        return counts.reshape(len(bodies), -1).astype(float)

    def _shape(self, genes: Sequence[Gene]) -> list[float]:
        depths: list[int] = []
        joined = added = reach = 0
        for i, gene in enumerate(genes):
            offsets = gene.inputs if isinstance(gene, Layer) else (1,)
            if len(offsets) == 1:
                depths.append(1 + depths[i - offsets[0]] if offsets[0] <= i else 1)
                continue
            depths.append(1 + max((depths[i - o] for o in offsets if o <= i), default=0))
            joined, added = joined + 1, added + (isinstance(gene, Layer) and gene.join == "add")
            reach = max(reach, *offsets)
        longest = max(1, self._space.maximum)
        sizes = (3.0 * len(genes) / longest, 3.0 * max(depths, default=0) / longest)
        return [*sizes, joined / 2, added / 2, reach / 6]

    def _costs(self, genome: Genome) -> list[float]:
        rules = self._space.rules
        assert isinstance(rules, ImageRules)
        try:
            cost = cost_of(genome, rules.problem)
        except InfeasibleError:  # bred, not mended yet
            return [0.0] * 3
        memory = cost.memory_bytes(rules.problem.budget.batch_size)
        return [math.log10(1.0 + value) for value in (cost.parameters, cost.flops_forward, memory)]

    def _vector(self, gene: Gene) -> Floats:
        """Return the values of a gene, field by field."""
        found = self._genes.get(gene)
        if found is None:
            fields = [_embedded(domain, getattr(gene, name)) for name, domain in self._domains[type(gene)]]
            found = np.concatenate(fields) if fields else np.zeros(0)
            if len(self._genes) > _REMEMBERED:
                self._genes.clear()
            self._genes[gene] = found
        return found


@lru_cache(maxsize=256)
def _shares(length: int) -> Floats:
    """Return how much each gene belongs to each part (each lies between two of them, by its place), and zeros last."""
    places = np.linspace(0.0, _PARTS - 1.0, length) if length > 1 else np.full(length, (_PARTS - 1) / 2)
    shares = np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(_PARTS)))
    return np.concatenate([shares, np.zeros((1, _PARTS))])


def _size(domain: Domain) -> int:
    return len(_embedded(domain, domain.nearest(0)))


def _embedded(domain: Domain, value: Any) -> Floats:
    """Return a value as a vector; the squared distance of two is their distance in the domain, 0 to 1."""
    return _kept(cast(Hashable, domain), value)


@lru_cache(maxsize=65536)
def _kept(known: Hashable, value: Any) -> Floats:
    domain = cast(Domain, known)
    if isinstance(domain, PerAxis):
        axes = [_embedded(domain.inner, v) for v in spread(domain.nearest(value), domain.rank)]
        return np.concatenate(axes) / math.sqrt(domain.rank)
    value = domain.nearest(value)
    if isinstance(domain, Choice) and not (domain.ordered and len(domain.values) > 2):
        return np.array([v == value for v in domain.values], dtype=float) / math.sqrt(2.0)
    if isinstance(domain, Choice):
        place = domain.values.index(value)
        steps = (np.arange(len(domain.values) - 1) < place).astype(float)
        return steps / math.sqrt(len(domain.values) - 1)
    share = domain.distance(domain.nearest(-1e300), value)
    levels: Floats = np.clip(_LEVELS * share - np.arange(_LEVELS), 0.0, 1.0) / math.sqrt(_LEVELS)
    return levels
