"""Search spaces: which genomes a search may propose. Pure.

A space has fixed genes at the front (slots) and then between `minimum` and `maximum` genes of some kinds. The domain of
a field is that of the gene kind unless the space narrows it. Its rules say which genes are a valid network (shapes that
fit together, limits on cost). The user may add constraints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from typing import Any, Self

import numpy as np

from menndl_dask.errors import InfeasibleError, UserError
from menndl_dask.genome.domain import Domain, in_words
from menndl_dask.genome.gene import Gene, kind_name
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.training_gene import Training
from menndl_dask.problem import Problem
from menndl_dask.space.image_rules import ImageRules
from menndl_dask.space.random_network import random_network
from menndl_dask.text import html_summary
from menndl_dask.validation import demand_kind, shown

Constraint = Callable[[Genome], str | None]
_DEEPER = 3  # layers, all repetitions counted, for each gene that a space allows
_ATTEMPTS = 200  # draws before a space is called empty
_RARE = 0.1  # share of values that mutations do not draw from the usual domain of their field
_SHOWN = 150  # characters of the domains of a kind in a notebook
_CHECKED = 4096  # genes whose check is kept


@dataclass(frozen=True, slots=True, eq=False)
class SearchSpace:
    """The genomes that a search may propose. Made by `slots`, `sequence` or `image`.

    Parameters
    ----------
    fixed
        Kinds of the genes at the front, one each.
    kinds
        Kinds that the genes of the variable part may have; none in a space of fixed length.
    minimum, maximum
        Bounds of the number of genes of the variable part.
    ranges
        Domains that take the place of a kind's own: by kind, then by field.
    constraints
        Functions that return in words what is wrong with a genome, None if it is valid.
    rules
        What makes valid genes a valid network.
    is_limited
        Whether the user gave the maximum: it is not raised for the standard network.
    drawn
        The space that random networks are drawn from, where it is narrower: this one has been widened for the networks
        that a search was given, see `menndl_dask.space.widening`.
    given_layers
        Layers of the deepest of these networks, all repetitions counted.
    """

    fixed: tuple[type[Gene], ...] = ()
    kinds: tuple[type[Gene], ...] = ()
    minimum: int = 0
    maximum: int = 0
    ranges: Mapping[type[Gene], Mapping[str, Domain]] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    rules: ImageRules | None = None
    is_limited: bool = False
    drawn: SearchSpace | None = None
    given_layers: int = 0
    # genes that were checked; for those with a value outside of its domain, the nearest gene inside
    _checked: dict[Gene, Gene | None] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        counts = (self.minimum, self.maximum)
        if not all(isinstance(n, (int, np.integer)) for n in counts) or not 0 <= self.minimum <= self.maximum:
            raise UserError(f"search space: expected 0 ≤ minimum ≤ maximum, got {self.minimum}, {self.maximum}")
        if bool(self.kinds) != (self.maximum > 0):
            raise UserError("search space: expected gene kinds and a maximum ≥ 1 together, got only one of them")
        for kind in (*self.fixed, *self.kinds):
            if not (isinstance(kind, type) and issubclass(kind, Gene)):
                raise UserError(f"search space: expected kinds (subclasses) of Gene, got {kind!r}")
            kind.check_kind()

    @classmethod
    def slots(cls, kinds: Sequence[type[Gene]], *, constraints: Sequence[Constraint] = ()) -> Self:
        """Return a space of a fixed sequence of genes.

        >>> from dataclasses import dataclass
        >>> from menndl_dask.genome.domain import choice
        >>> @dataclass(frozen=True, slots=True)
        ... class Edge(Gene):
        ...     operation: str = choice("none", "skip", "conv3")
        >>> space = SearchSpace.slots([Edge] * 6)
        >>> len(space.sample(np.random.default_rng(0))), space.size
        (6, 729.0)
        """
        _demand_list("slots", kinds)
        if not kinds:
            raise UserError("slots: expected one or more kinds of genes, got none")
        return cls(fixed=tuple(kinds), constraints=tuple(constraints))

    @classmethod
    def sequence(
        cls,
        kinds: Sequence[type[Gene]],
        *,
        minimum: int = 1,
        maximum: int = 12,
        prefix: Sequence[type[Gene]] = (),
        ranges: Mapping[type[Gene], Mapping[str, Domain]] | None = None,
        constraints: Sequence[Constraint] = (),
    ) -> Self:
        """Return a space of sequences of variable length, after fixed genes (`prefix`)."""
        _demand_list("sequence", kinds)
        return cls(tuple(prefix), tuple(kinds), minimum, maximum, dict(ranges or {}), tuple(constraints))

    @classmethod
    def image(
        cls,
        problem: Problem,
        *,
        training: bool = False,
        minimum: int = 2,
        maximum: int | None = None,
        max_parameters: float = 20e6,
        max_flops: float = math.inf,
        max_memory_bytes: float = 4e9,
        extra: Sequence[type[Gene]] = (),
        ranges: Mapping[type[Gene], Mapping[str, Domain]] | None = None,
        constraints: Sequence[Constraint] = (),
    ) -> Self:
        """Return the space of image networks that suit a problem's task, rank and size.

        Parameters
        ----------
        problem
            What the networks are for.
        training
            Evolve the optimiser's settings too, with a `Training` gene; by default only the topology.
        minimum, maximum
            Bounds of the number of layers, the head not counted; at most 16 by default, 28 for segmentation.
        max_parameters, max_flops, max_memory_bytes
            Limits of a network: its weights, its FLOPs for one sample forward, and the estimate of the
            memory that a training step of the problem's batch size needs.
        extra
            Further gene kinds: the user's own, or such of the package as the space leaves out.
        ranges
            Domains that take the place of the usual ones.
        constraints
            Functions that return in words what is wrong with a genome, None if it is valid.
        """
        demand_kind("problem", problem, Problem, "a Problem, as open_problem returns it")
        limits = (max_parameters, max_flops, max_memory_bytes)
        rules = ImageRules.of(problem, limits, extra=extra, ranges=ranges or {})
        longest = maximum or (28 if problem.by_pixel else 16)
        prefix = (Training,) if training else ()
        return cls(prefix, rules.kinds, minimum, longest, rules.ranges, tuple(constraints), rules, maximum is not None)

    def _repr_html_(self) -> str:
        rows = [("genomes", "too many to count" if math.isinf(self.size) else f"{self.size:.3g} at most")]
        if self.fixed:
            rows.append(("fixed genes", str(len(self.fixed))))
        if self.kinds:
            rows.append(("further genes", f"{self.minimum} to {self.maximum}"))
        for kind in sorted({*self.fixed, *self.kinds}, key=kind_name):
            values = ", ".join(f"{name} {in_words(domain)}" for name, domain in self.domains(kind).items())
            rows.append((kind_name(kind), values if len(values) <= _SHOWN else f"{values[: _SHOWN - 1]}…"))
        return html_summary("SearchSpace", rows)

    @property
    def size(self) -> float:
        """Number of genomes, an upper bound where constraints or rules exclude some."""
        front = math.prod(self._count(kind) for kind in self.fixed)
        if not self.kinds:
            return float(front)
        each = sum(self._count(kind) for kind in self.kinds)
        if math.isinf(each) or self.maximum * math.log10(max(each, 1)) > 300:
            return math.inf
        return float(front * sum(each**n for n in range(self.minimum, self.maximum + 1)))

    @property
    def deepest(self) -> int:
        """Most layers that an offspring may have, all repetitions counted."""
        return max(_DEEPER * self.maximum, self.given_layers + self.given_layers // 2)

    def domains(self, kind: type[Gene]) -> dict[str, Domain]:
        """Return the domain of each field of a gene kind in this space."""
        return {**kind.domains(), **self.ranges.get(kind, {})}

    def domain(self, kind: type[Gene], name: str) -> Domain:
        """Return the domain of one field of a gene kind in this space."""
        return self.ranges.get(kind, {}).get(name) or kind.domains()[name]

    def sample_gene(self, kind: type[Gene], rng: np.random.Generator, *, rare: float = _RARE) -> Gene:
        """Draw a gene of a kind, every field with `sample_value`."""
        return kind(**{name: self.sample_value(kind, name, rng, rare=rare) for name in self.domains(kind)})

    def sample_value(self, kind: type[Gene], name: str, rng: np.random.Generator, *, rare: float = _RARE) -> Any:
        """Draw a value of a field from its domain, or from the usual one and the one before the space was widened.

        `rare` is the share of values that need not be usual.
        """
        if self.drawn is not None and kind in (*self.drawn.fixed, *self.drawn.kinds):
            return self.drawn.sample_value(kind, name, rng, rare=rare)
        usual = self._usual(kind, name)
        if usual is not None and (rare == 0 or rng.random() >= rare):
            return usual.sample(rng)
        return self.domain(kind, name).sample(rng)

    def step_value(self, kind: type[Gene], name: str, value: Any, rng: np.random.Generator) -> Any:
        """Return another value of a field near by; a usual one mostly becomes another usual one."""
        usual = self._usual(kind, name)
        stays = usual is not None and usual.contains(value) and rng.random() >= _RARE
        return (usual if usual and stays else self.domain(kind, name)).step(value, rng)

    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw a genome; a network with usual values, from the space before it was widened.

        Raises
        ------
        UserError
            If no valid genome is found in many draws: the constraints exclude (almost) all.
        """
        demand_kind("sample: rng", rng, np.random.Generator, "a generator, such as np.random.default_rng(0)")
        if self.drawn is not None:
            return self.drawn.sample(rng)
        wrong: str | None = ""
        for _ in range(_ATTEMPTS):
            front = [self.sample_gene(kind, rng) for kind in self.fixed]
            genome = Genome((*front, *self._sample_variable(rng)))
            if self.rules is not None:
                genome = self._repaired(genome, rng) or genome
            wrong = self.violation(genome)
            if wrong is None:
                return genome
        raise UserError(f"search space: no valid network in {_ATTEMPTS} draws; the last one: {wrong}")

    def contains(self, genome: Genome) -> bool:
        """Tell whether a genome belongs to the space."""
        return self.violation(genome) is None

    def violation(self, genome: Genome) -> str | None:
        """Return why a genome is not in the space, in words; None if it is."""
        wrong = self._own_violation(genome)
        if wrong is None and self.rules is not None:
            wrong = self.rules.violation(genome)
        return wrong

    def _own_violation(self, genome: Genome) -> str | None:
        """Return why a genome is not in the space, leaving out the rules for networks; None if it is."""
        genome = self._canonical(genome)
        front, length = genome.genes[: len(self.fixed)], self.length(genome)
        if len(front) < len(self.fixed) or not self.minimum <= length <= self.maximum:
            expected = f"expected {len(self.fixed)} + {self.minimum} to {self.maximum} genes"
            return f"{expected}, got {len(self.fixed) + length}"
        for i, (gene, kind) in enumerate(zip(front, self.fixed, strict=True)):
            if type(gene) is not kind:
                return f"gene {i}: expected kind {kind_name(kind)}, got {kind_name(type(gene))}"
        for i, gene in enumerate(genome.genes):
            if i >= len(front) and type(gene) not in self.kinds:
                return f"gene {i}: kind {kind_name(type(gene))} is not in this space"
            if self._nearest(gene) is not gene:
                domains = self.domains(type(gene)).items()
                name, domain = next(item for item in domains if not item[1].contains(getattr(gene, item[0])))
                return f"gene {i}: {kind_name(type(gene))}.{name}: {getattr(gene, name)!r} is not in {domain}"
        return next(filter(None, (constraint(genome) for constraint in self.constraints)), None)

    def length(self, genome: Genome) -> int:
        """Return the number of genes of the variable part; in a network, layers that are repeated are one gene."""
        demand_kind("genome", genome, Genome, "a Genome")
        return len((genome if self.rules is None else genome.folded()).genes) - len(self.fixed)

    def repair(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Return a genome of the space near the given one; the genome itself if it is in the space.

        Returns a random genome where no small repair helps: constraints of the user come without one.
        """
        if self.violation(genome) is None:
            return self._canonical(genome)
        repaired = self._repaired(self._with_nearest_values(genome, rng), rng)
        if repaired is not None and self._own_violation(repaired) is None:  # the rules hold by now
            return repaired
        return self.sample(rng)

    def to_dict(self) -> dict[str, Any]:
        """Return the space as a plain dict, for the record of a run."""
        return {
            "fixed": [kind_name(kind) for kind in self.fixed],
            "kinds": [kind_name(kind) for kind in self.kinds],
            "minimum": self.minimum,
            "maximum": self.maximum,
            "domains": {
                kind_name(kind): {name: str(domain) for name, domain in self.domains(kind).items()}
                for kind in sorted({*self.fixed, *self.kinds}, key=kind_name)
            },
            "constraints": [getattr(c, "__qualname__", repr(type(c))) for c in self.constraints],
            "rules": self.rules.to_dict() if self.rules is not None else None,
        }

    def _usual(self, kind: type[Gene], name: str) -> Domain | None:
        return self.rules.usual.get(kind, {}).get(name) if self.rules is not None else None

    def _canonical(self, genome: Genome) -> Genome:
        demand_kind("genome", genome, Genome, "a Genome")
        return genome if self.rules is None else genome.canonical()

    def _count(self, kind: type[Gene]) -> float:
        return math.prod(domain.size for domain in self.domains(kind).values())

    def _sample_variable(self, rng: np.random.Generator) -> Sequence[Gene]:
        if self.rules is not None:
            samplers = {kind: partial(self.sample_gene, kind, rare=0) for kind in self.kinds}
            return random_network(self.rules.problem, samplers, self.minimum, self.maximum, rng)
        if not self.kinds:
            return ()
        number = int(rng.integers(self.minimum, self.maximum + 1))
        return [self.sample_gene(self.kinds[rng.integers(len(self.kinds))], rng) for _ in range(number)]

    def _repaired(self, genome: Genome, rng: np.random.Generator) -> Genome | None:
        if self.rules is None:
            return genome
        try:
            return self.rules.repair(genome, self.minimum, self.maximum, rng)
        except InfeasibleError:
            return None

    def _with_nearest_values(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """Return a genome near the given one with kinds, fields and a number of genes that are in the space."""
        genome = genome if self.rules is None else Genome((*genome.settings, *genome.layers))  # without cells
        front = [g for g in genome.genes if type(g) in self.fixed and type(g) not in self.kinds]
        if len(front) != len(self.fixed) or any(type(g) is not k for g, k in zip(front, self.fixed, strict=False)):
            given = zip_longest(genome.genes[: len(self.fixed)], self.fixed)
            front = [g if type(g) is k else self.sample_gene(k, rng) for g, k in given]
        rest = [g for g in genome.genes if type(g) in self.kinds]
        if self.rules is None:
            rest = rest[: self.maximum]
            while len(rest) < self.minimum:
                rest.append(self.sample_gene(self.kinds[rng.integers(len(self.kinds))], rng))
        return Genome(tuple(self._nearest(g) for g in (*front, *rest)))

    def _nearest(self, gene: Gene) -> Gene:
        """Return the gene with each field in its domain; the gene itself if they all are."""
        if gene not in self._checked:
            changes = {
                name: domain.nearest(getattr(gene, name))
                for name, domain in self.domains(type(gene)).items()
                if not domain.contains(getattr(gene, name))
            }
            if len(self._checked) >= _CHECKED:
                self._checked.clear()
            self._checked[gene] = gene.replaced(**changes) if changes else None
        found = self._checked[gene]
        return gene if found is None or found == gene else found


def _demand_list(what: str, kinds: object) -> None:
    if not isinstance(kinds, Sequence):
        got = kinds.__name__ if isinstance(kinds, type) else shown(kinds)
        raise UserError(f"{what}: expected a list of kinds of genes, such as [Edge] * 6, got {got}")
