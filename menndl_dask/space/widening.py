"""Widening: a search space that has room for the networks that a search is given. Pure.

A given network is kept as it is. The space gets the gene kinds, the values and the number of genes that the network
needs, so that its offspring vary around it; random networks are drawn from the space as it was. A network that breaks a
limit or a constraint of the user is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard, cast

from menndl_dask.errors import GenomeError, UserError
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import Choice, Domain, Integer, PerAxis, Real
from menndl_dask.genome.gene import Gene, is_users, kind_name
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.training_gene import Training
from menndl_dask.space.image_rules import check_rules
from menndl_dask.space.space import SearchSpace

_SHOWN = 5  # changes of the space in a line


@dataclass(frozen=True, slots=True)
class Given:
    """A network that a search is given, its name in messages, and what of a Keras model is not in its genome."""

    name: str
    genome: Genome
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Widened:
    """A space with room for the networks that it was given so far.

    Attributes
    ----------
    space
        The space, wider where that was needed.
    genomes
        The networks, as the search begins with them.
    lines
        What became of them, a line each, where it is more than being in the space.
    """

    space: SearchSpace
    genomes: list[Genome] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def add(self, given: Given, *, may_be_longer: bool = True) -> None:
        """Make room for a network; one with more genes than the space has is refused unless it `may_be_longer`.

        Raises
        ------
        UserError
            If it cannot be built for the problem, or breaks a limit or a constraint; the message says what would have
            to change.
        """
        if kinds := given.genome.unknown_kinds:
            raise UserError(f"{given.name}: the module of its gene kind {kinds[0]} is not imported")
        genome, notes = _with_settings(given.genome, self.space)
        if self.space.rules is not None:
            genome = genome.canonical()
        _check_buildable(given.name, genome, self.space)
        space, changes = _made_wider(self.space, genome, may_be_longer)
        if wrong := space.violation(genome):
            raise UserError(f"{given.name}: {wrong}{_advice(space, genome)}")
        if changes:
            more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
            notes.append(f"kept as it is; the space now has {', '.join(changes[:_SHOWN])}{more}")
        self.space = space
        self.genomes.append(genome)
        self.lines += [f"{given.name}: {note}" for note in notes]


def widened(space: SearchSpace, given: Iterable[Given]) -> Widened:
    """Return a space that contains the given networks as they are; raises `UserError` where one is refused.

    Examples
    --------
    >>> from menndl_dask.genome.layers import Convolution
    >>> from menndl_dask.problem import Facts, Problem
    >>> images = Problem("cells.zarr", "classification", Facts(input_shapes=((64, 64, 1),), outputs=2))
    >>> long = Genome((Convolution(16, (1, 45)), Convolution(16)))
    >>> found = widened(SearchSpace.image(images), [Given("mine", long)])
    >>> found.space.contains(long), found.lines
    (True, ['mine: kept as it is; the space now has Convolution.kernel_size up to 45'])
    """
    found = Widened(space)
    for each in given:
        found.add(each)
    return found


def with_value(domain: Domain, value: Any) -> Domain:
    """Return a domain that has a value too; the domain itself where there is no such one.

    >>> with_value(Choice((1, 2, 4)), 3), with_value(Integer(4, 256, log=True), 2048)
    (Choice(values=(1, 2, 3, 4)), Integer(low=4, high=2048, log=True))
    """
    if domain.contains(value):
        return domain
    if isinstance(domain, PerAxis) and isinstance(value, tuple):
        inner: Any = domain.inner
        for each in value:
            inner = with_value(inner, each)
        return replace(domain, inner=inner)
    if isinstance(domain, Choice):
        values = (*domain.values, value)
        return Choice(tuple(sorted(values)) if domain.ordered and _is_number(value) else values)
    if isinstance(domain, (Integer, Real)) and domain.accepts(value):
        low, high = min(domain.low, value), max(domain.high, value)
        return replace(domain, low=low, high=high, log=domain.log and low > 0)
    return domain


def _with_settings(genome: Genome, space: SearchSpace) -> tuple[Genome, list[str]]:
    """Return the genome with a `Training` gene if the space has one, else without, and what that means in words."""
    if space.rules is None:
        return genome, []
    others = [gene for gene in genome.genes if not isinstance(gene, Training)]
    if Training in space.fixed and len(others) == len(genome.genes):
        budget = space.rules.problem.budget
        usual = Training(learning_rate=budget.learning_rate, batch_size=budget.batch_size)
        return Genome((usual, *others)), ["its training begins with the settings of the budget"]
    if Training not in space.fixed and len(others) < len(genome.genes):
        return Genome(tuple(others)), ["its Training gene is left out: the space has none"]
    return genome, []


def _check_buildable(name: str, genome: Genome, space: SearchSpace) -> None:
    """Raise the error if no network for the problem can be built, whatever the space has."""
    for kind in {type(gene) for gene in genome.genes if is_users(type(gene)) and isinstance(gene, Layer)}:
        check_rules(kind)
    if space.rules is not None:
        shapes = " and ".join("×".join(map(str, shape)) for shape in space.rules.problem.facts.input_shapes)
        try:
            cost_of(genome, space.rules.problem)
        except GenomeError as error:
            raise UserError(f"{name}: cannot be built for images of {shapes}: {error}") from error


def _made_wider(space: SearchSpace, genome: Genome, may_be_longer: bool) -> tuple[SearchSpace, list[str]]:
    """Return the space with what a genome needs, and what that is in words."""
    front, rest = genome.genes[: len(space.fixed)], genome.genes[len(space.fixed) :]
    if tuple(map(type, front)) != space.fixed or (rest and not space.kinds):
        return space, []  # it does not fit where genes are fixed: the violation says so
    changes, ranges = [], {kind: dict(space.domains(kind)) for kind in (*space.fixed, *space.kinds)}
    rest_kinds: list[type[Gene]] = [type(gene) for gene in rest]
    added = [kind for kind in dict.fromkeys(rest_kinds) if kind not in ranges]
    for kind in added:
        ranges[kind] = space.rules.usual_domains(kind) if space.rules is not None else dict(kind.domains())
    for kind, domains in ranges.items():
        for name, before in domains.items():
            for gene in genome.genes:
                if isinstance(gene, kind):
                    domains[name] = with_value(domains[name], getattr(gene, name))
            if domains[name] != before and kind not in added:
                changes.append(f"{kind.__name__}.{name} {_difference(before, domains[name])}")
    if added:
        changes.append(f"kinds {' '.join(map(kind_name, added))}")
    kinds = (*space.kinds, *added)
    length = space.length(genome)
    minimum, maximum = min(space.minimum, length), max(space.maximum, length)
    maximum = maximum if may_be_longer else space.maximum
    if minimum < space.minimum:
        changes.append(f"{minimum} genes or more")
    if maximum > space.maximum:
        changes.append(f"up to {maximum} genes")
    deeper = replace(space, given_layers=max(space.given_layers, len(genome.layers)))
    space = deeper if deeper.deepest > space.deepest else space
    if not changes:
        return space, []
    rules = space.rules if space.rules is None else replace(space.rules, kinds=kinds, ranges=ranges)
    values: dict[str, Any] = {"kinds": kinds, "ranges": ranges, "rules": rules, "minimum": minimum, "maximum": maximum}
    return replace(space, **values, drawn=space.drawn or space), changes


def _difference(before: Domain, after: Domain) -> str:
    """Say what a wider domain has more."""
    old, new = (domain.inner if isinstance(domain, PerAxis) else domain for domain in (before, after))
    if isinstance(old, Choice) and isinstance(new, Choice):
        more = [value for value in new.values if value not in old.values]
        if not new.ordered:
            return " ".join(map(str, more))
        low, high = old.values[0], old.values[-1]
        between = [str(value) for value in more if low < value < high]
        ends = (more[0], more[-1])
    else:
        old, new = cast(Integer, old), cast(Integer, new)
        low, high, ends, between = old.low, old.high, (new.low, new.high), []
    below, above = ([f"down to {ends[0]}"] if ends[0] < low else []), ([f"up to {ends[1]}"] if ends[1] > high else [])
    return " and ".join([*below, *between, *above])


def _advice(space: SearchSpace, genome: Genome) -> str:
    """Return which option lets a genome in that exceeds a limit; an empty text if none does."""
    if (length := space.length(genome)) > space.maximum:
        return f": --max-layers {length} (in Python: maximum) lets it in"
    exceeded = space.rules.exceeded(genome) if space.rules is not None else None
    if exceeded is None:
        return ""
    unit = 1e9 if exceeded.option == "max_memory_bytes" else 1.0
    step = 10.0 ** (math.floor(math.log10(exceeded.value / unit)) - 1)
    enough = math.ceil(exceeded.value / unit / step) * step
    option = exceeded.option.removesuffix("_bytes").replace("_", "-")
    return f": --{option} {enough:.3g} (in Python: {exceeded.option}) lets it in"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
