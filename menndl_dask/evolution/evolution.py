"""Evolution: proposes networks and learns from their results, one at a time, in any order. Pure.

`Evolution.ask` names the next network to evaluate, `Evolution.tell` takes its result; any number may be in flight.
It needs neither Dask nor Keras, and reads no clock. What an `ask` proposes depends only on the seed, the individual's
number and the history of asking and telling, so a run replayed from its journal proposes the same offspring.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Protocol, overload

import numpy as np
from threadpoolctl import ThreadpoolController

from menndl_dask.errors import MenndlError, UserError, shortened
from menndl_dask.evolution.candidate_pool import CandidatePool
from menndl_dask.evolution.offspring import Offspring, Variation
from menndl_dask.evolution.operator_rates import OperatorRates
from menndl_dask.evolution.population import Member, Population, Survival, dominates
from menndl_dask.evolution.selection import elitist
from menndl_dask.evolution.surrogate.acquisition import Observation, SurrogateModel
from menndl_dask.evolution.surrogate.training_set import TrainingSet
from menndl_dask.genome.gene import kind_name
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.metric import BUILT_IN
from menndl_dask.objective import FITNESS, Objectives
from menndl_dask.result import OF_DATA, Failures, Result
from menndl_dask.space.enumeration import every_genome
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.widening import Given, widened
from menndl_dask.validation import FLAG, demand_kind

DRAWN = 20  # random networks before offspring are bred
_ENOUGH = 1  # random networks that an initial one has to beat for no more to be drawn
_MEMBERS = 30  # of a population, with few workers
_OFFSPRING = 60  # bred from the population for each network that is asked for
_GENERATIONS = 5  # of offspring of offspring, at most
# results from which on a model is trusted with them: before, they end up far from the few networks that it knows, where
# hardly any is as good as its parent (benchmarks/search_quality.md)
_TRUSTED = 25
_GENERATION, _BREEDERS, _PAIR = 8, 4, 2  # offspring a generation, of so many candidates, in tournaments of so many
_EXPLORATION = 1.0  # mean number of standard deviations by which a network may be better than predicted
_PENDING = 64  # networks in flight, the latest, that a choice keeps away from: what it costs grows with their number
_DRAWS = 200  # random networks drawn in vain before the space counts as exhausted
_COUNTABLE = 20_000  # size up to which a space is searched through for what is left

logger = logging.getLogger(__name__)


class SpaceExhausted(MenndlError):  # noqa: N818 – the end of a search, not a mistake
    """Every network of the space has been asked for, or no new one can be found."""


class Optimizer(Protocol):
    """What can drive a search: `Evolution`, or anything else with these methods over the same space."""

    def ask(self, n: int) -> list[Individual]:
        """Return up to `n` individuals to evaluate, at least one; raises `SpaceExhausted` when there is none."""
        ...

    def tell(self, individual: Individual, result: Result) -> None:
        """Take the result of an individual."""
        ...

    def recall(self, individual: Individual) -> None:
        """Take note of an individual that was asked for in an earlier process."""
        ...

    def best(self) -> tuple[Individual, Result]:
        """Return the fittest individual told so far, and its result."""
        ...


class Evolution:
    """An asynchronous, steady-state evolutionary search.

    Parameters
    ----------
    space
        Search space.
    seed
        Random seed. The randomness of one `ask` comes from the seed and the individual's number.
    workers
        Number of evaluations in flight, if known: the population has at least a quarter as many members.
    objectives
        ``fitness`` (maximised) and names of costs or metrics (minimised).
    constraints
        Hard constraints such as ``latency_ms <= 2``.
    initial
        Networks to begin with, such as those of an earlier run or encoded Keras models. They are kept as they are:
        where one is not in the space, the space is widened or the network refused, see `menndl_dask.space.widening`.
    random
        Number of random networks before offspring are bred; fewer once an initial network has beaten the first.
    capacity
        Size of the population; by default 30, or more with more than 120 workers.
    survival
        Which members survive when there are too many.
    tournament_size
        Members that compete to become a parent.
    screen
        Whether a surrogate model chooses among the offspring; else the first that is new is asked for.
    offspring
        Number of offspring bred from the population for each `ask`.
    first
        Number of the first individual; each island of several begins with another one.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        workers: int | None = None,
        objectives: Sequence[str] = (FITNESS,),
        constraints: Sequence[str] = (),
        initial: Iterable[Genome] = (),
        *,
        random: int = DRAWN,
        capacity: int | None = None,
        survival: Survival = elitist,
        tournament_size: int = 3,
        screen: bool = True,
        offspring: int = _OFFSPRING,
        first: int = 0,
    ) -> None:
        if not isinstance(space, SearchSpace):
            raise UserError(f"space: expected a SearchSpace, got {shortened(repr(space))}")
        for name, value, least in (
            ("seed", seed, 0), ("random", random, 0), ("tournament_size", tournament_size, 1),
            ("offspring", offspring, 1), ("first", first, 0), ("workers", 0 if workers is None else workers, 0),
            ("capacity", _MEMBERS if capacity is None else capacity, 1),
        ):  # fmt: skip
            _demand_integer(name, value, least)
        FLAG.demand("screen", screen)
        if not callable(survival):
            raise UserError(f"survival: expected a function, such as ageing, got {shortened(repr(survival))}")
        given = []
        is_list = isinstance(initial, Iterable) and not isinstance(initial, (str, Genome))
        for i, genome in enumerate(initial if is_list else [initial]):
            if not isinstance(genome, Genome):
                raise UserError(f"initial: expected a list of genomes, got {shortened(repr(genome))}")
            given.append(Given(f"initial network {i}", genome))
        found = widened(space, given)
        for line in found.lines:
            logger.warning("%s", line)
        self.space = space = found.space
        self.seed = seed
        self.first = first
        self.objectives = Objectives.of(objectives, constraints)
        if larger := [name for name in self.objectives.names if BUILT_IN.get(name) == "max"]:
            raise UserError(f"objectives: {larger[0]!r} would be minimised; the metric to maximise is {FITNESS!r}")
        self.population = Population(survival, capacity or max(_MEMBERS, (workers or 0) // 4))
        self.failures: Counter[str] = Counter()
        self._why = Failures()
        self._random, self._tournament, self._offspring = random, tournament_size, offspring
        self._initial = found.genomes
        self._variation = Variation(space)
        self._rates = OperatorRates(self._variation.priors)
        self.training_set = TrainingSet(space, self.objectives) if screen else None
        self._keys: set[str] = set()
        self._pending: dict[int, Individual] = {}
        self._told: set[int] = set()
        self._next_id = first
        self._drawn = 0  # random networks whose results are known
        self._best: Member | None = None
        self._front: list[Member] = []

    @overload
    def ask(self) -> Individual: ...
    @overload
    def ask(self, n: int) -> list[Individual]: ...
    def ask(self, n: int | None = None) -> Individual | list[Individual]:
        """Return the next individual to evaluate, or a list of `n`, which are chosen from the same offspring.

        No two individuals of a run are the same network.

        Raises
        ------
        SpaceExhausted
            If no network is left that has not been asked for. A list may be shorter than `n` for that reason, but
            is not empty.
        """
        if n is not None:
            _demand_integer("ask", n, 0)
        asked: list[Individual] = []
        pool: CandidatePool | None = None
        with _blas().limit(limits=1):
            for _ in range(1 if n is None else n):
                try:
                    individual, pool = self._propose(pool, np.random.default_rng([self.seed, self._next_id]))
                except SpaceExhausted:
                    if not asked:
                        raise
                    break
                self.recall(individual)
                asked.append(individual)
        return asked[0] if n is None else asked

    def recall(self, individual: Individual) -> None:
        """Take note of an individual that was asked for in an earlier process.

        Recalling and telling in the order of a journal puts the algorithm back exactly where it was.

        Raises
        ------
        UserError
            If the network has a gene kind that the space does not have.
        """
        self._demand_kinds(individual)
        self._keys.add(individual.genome.key)
        self._pending[individual.id] = individual
        self._next_id = max(self._next_id, individual.id + 1)

    def tell(self, individual: Individual, result: Result) -> None:
        """Take the result of an individual, a failure too; a second result of the same individual is ignored."""
        given: tuple[object, object] = individual, result
        if not isinstance(given[0], Individual) or not isinstance(given[1], Result):
            got = f"{type(individual).__name__} and {type(result).__name__}"
            raise UserError(f"tell: expected an Individual and its Result, such as Result(0.5), got {got}")
        if individual.id in self._told:
            return
        if individual.id not in self._pending:
            self.recall(individual)
        del self._pending[individual.id]
        self._drawn += individual.origin == "random"
        self._rates.credit(individual.origin, self._gain(result))
        if not self._add(individual, result):
            kind = result.failure or "no objective"
            self.failures[kind] += 1
            self._why.add(kind, result.message)

    def add_migrant(self, individual: Individual, result: Result) -> None:
        """Add a network that another search over this space has bred and evaluated.

        It competes and breeds like those that were bred here, and is never asked for.
        """
        if individual.id not in self._told:
            self._demand_kinds(individual)
            self._keys.add(individual.genome.key)
            self._add(individual, result)

    def has_seen(self, genome: Genome) -> bool:
        """Tell whether a network was asked for or added as a migrant."""
        demand_kind("has_seen: genome", genome, Genome, "a Genome")
        return genome.key in self._keys

    def emigrants(self, count: int) -> list[tuple[Individual, Result]]:
        """Return the best members that were bred here, for `add_migrant` elsewhere."""
        natives = [m for m in self.population.ranked() if self.first <= m.individual.id < self._next_id]
        return [(m.individual, m.result) for m in natives[:count]]

    def best(self) -> tuple[Individual, Result]:
        """Return the fittest individual told so far and its result; those that keep the constraints come first.

        Raises
        ------
        UserError
            If no evaluation has succeeded yet; the message says how they failed.
        """
        if self._best is None:
            raise UserError(self.diagnosis() or "no network has been evaluated yet")
        return self._best.individual, self._best.result

    def front(self) -> list[tuple[Individual, Result]]:
        """Return the individuals that no other beats in all objectives, the fittest first."""
        ordered = sorted(self._front, key=lambda m: (-m.values[0], m.individual.id))
        return [(m.individual, m.result) for m in ordered]

    def diagnosis(self) -> str | None:
        """Say in words how the evaluations failed, if there were any and all did."""
        if not self.failures or self._best is not None:
            return None
        advice = "; if simple networks fail too, look at the data first: labels, value ranges, and the loss"
        return self._why.describe() + (advice if self._why.leading in OF_DATA else "")

    def _propose(
        self, pool: CandidatePool | None, rng: np.random.Generator
    ) -> tuple[Individual, CandidatePool | None]:
        """Return the next individual: an initial network, a random one, or the best of the offspring.

        The pool of the same `ask`, if there is one, is compared again; else a new one is bred. It is returned too.
        """
        while self._initial:
            genome = self._initial.pop(0)
            if genome.key not in self._keys:
                return Individual(self._next_id, genome, (), "seeded"), None
        chosen = None
        if self.population.members and (self._next_id - self.first >= self._random or self._initial_leads()):
            pending = [individual.genome for individual in islice(reversed(self._pending.values()), _PENDING)]
            model = self.training_set.model(pending) if self.training_set is not None else None
            if model is None:  # too little is known to predict anything
                chosen = self._first_new(self._breed(rng), rng)
            else:
                shared, pool = pool, self._compare(pool, model, rng)
                chosen = pool.best()
                if chosen is None and shared is not None:  # all its candidates have been proposed by now
                    pool = self._compare(None, model, rng)
                    chosen = pool.best()
        if chosen is None:
            return Individual(self._next_id, self._random_genome(rng), (), "random"), None
        parents = tuple(parent.id for parent in chosen.parents)
        return Individual(self._next_id, chosen.genome, parents, chosen.origin), pool

    def _initial_leads(self) -> bool:
        """Tell whether an initial network is better than all random ones so far: more of them would be wasted.

        The best of all may be an offspring by now, since they are bred from then on.
        """
        origins = [member.individual.origin for member in self.population.ranked()]
        return self._drawn >= _ENOUGH and next((o for o in origins if o in ("seeded", "random")), None) == "seeded"

    def _breed(self, rng: np.random.Generator) -> Iterator[Offspring]:
        """Yield offspring of the population."""
        parents = [Offspring(m.individual.genome, (m.individual,)) for m in self.population.ranked()]
        return self._variation.breed(parents, self._rates.current(), self._tournament, self._offspring, rng)

    def _first_new(self, offspring: Iterable[Offspring], rng: np.random.Generator) -> Offspring | None:
        """Return the first of the offspring that was not asked for before, repaired."""
        for one in offspring:
            genome = self.space.repair(one.genome, rng)
            if genome.key not in self._keys:
                return Offspring(genome, one.parents, one.origin)
        return None

    def _compare(self, pool: CandidatePool | None, model: SurrogateModel, rng: np.random.Generator) -> CandidatePool:
        """Return candidates as the model ranks them: those of the pool, or new offspring and their own offspring."""
        # one factor for all candidates: were it drawn for each, the luckiest would win instead of the most promising
        exploration = _EXPLORATION * rng.exponential()
        weights = rng.dirichlet(np.ones(len(self.objectives.names)))
        if pool is not None:
            pool.rank(model, exploration, weights)
            return pool
        pool = CandidatePool(self.space, model, exploration, weights, self._keys, rng)
        pool.add(self._breed(rng))
        leading = pool.leading(_BREEDERS)
        for _ in range(_GENERATIONS if leading and len(self._told) >= _TRUSTED else 0):
            pool.add(self._variation.breed(leading, self._rates.current(), _PAIR, _GENERATION, rng))
            before, leading = leading, pool.leading(_BREEDERS)
            if leading[0] is before[0]:  # no offspring of the best is better
                break
        return pool

    def _random_genome(self, rng: np.random.Generator) -> Genome:
        """Return a random network that was not asked for before."""
        if self.space.size <= len(self._keys):
            raise SpaceExhausted(f"all {len(self._keys)} networks of the search space have been asked for")
        for _ in range(_DRAWS):
            try:
                genome = self.space.sample(rng)
            except UserError:
                if not self._keys:
                    raise
                break  # constraints leave so little that drawing finds nothing
            if genome.key not in self._keys:
                return genome
        if self.space.size <= _COUNTABLE:
            left = [genome for genome in every_genome(self.space) if genome.key not in self._keys]
            if left:
                return left[rng.integers(len(left))]
        raise SpaceExhausted(f"no new network is found; {len(self._keys)} have been asked for")

    def _demand_kinds(self, individual: Individual) -> None:
        """Raise the error for a network of another space: repair would leave genes out of its offspring."""
        genome, fixed = individual.genome, self.space.fixed
        genes = genome.genes if self.space.rules is None else (*genome.settings, *genome.layers)
        wrong = next((type(gene) for gene in genes[len(fixed) :] if type(gene) not in self.space.kinds), None)
        if wrong is None and tuple(map(type, genes[: len(fixed)])) == fixed:
            return
        what = f"gene kind {kind_name(wrong)}" if wrong else f"{len(fixed)} fixed genes of other kinds"
        raise UserError(
            f"network {individual.id}: {what}, which the space does not have; a space is widened for the networks that "
            "are given to Evolution as `initial`"
        )

    def _gain(self, result: Result) -> float:
        """Return how much an operator gained: 1 if its network is as good as the best quarter of the population."""
        values, members = self.objectives.values(result), self.population.members
        if values is None:
            return 0.0
        if not members or len(values) > 1:
            return 0.5
        better = sum(member.values[0] >= values[0] for member in members)
        return 1.0 if better < len(members) / 4 else 0.0

    def _add(self, individual: Individual, result: Result) -> bool:
        """Add a result to the training set and, if it succeeded, to the population; return whether it did."""
        self._told.add(individual.id)
        values, violation = self.objectives.values(result), self.objectives.violation(result)
        if self.training_set is not None and result.failure == "pruned":
            # feasible and low: what it had reached at the rung is about the least that it would have come to
            reached = result.as_if_finished()
            low = self.objectives.values(reached)
            if low is not None:
                self.training_set.add(Observation(individual.genome, low, not self.objectives.breaks(reached)))
        elif self.training_set is not None:
            self.training_set.add(Observation(individual.genome, values, violation == 0))
        if values is None:
            return False
        member = Member(individual, result, values, violation)
        self.population.add(member)
        if self._best is None or (-violation, values[0]) > (-self._best.violation, self._best.values[0]):
            self._best = member
        if violation == 0 and not any(dominates(other.values, values) for other in self._front):
            self._front = [other for other in self._front if not dominates(values, other.values)] + [member]
        return True


def _demand_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UserError(f"{name}: expected an integer ≥ {least}, got {shortened(repr(value))}")


@cache
def _blas() -> ThreadpoolController:
    # one thread: with two an ask took 30 times as long while other processes kept both cores busy
    return ThreadpoolController()
