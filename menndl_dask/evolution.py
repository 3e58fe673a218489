"""Evolution: proposes networks and learns from their results, one at a time, in any order. Pure.

`Evolution.ask` names the next network to evaluate, `Evolution.tell` takes its result; any number may be in flight.
Nothing here knows Dask, Keras or a clock. What an `ask` does depends only on the seed, the individual's number
and the history of asking and telling, so a run replayed from its journal proposes the same children.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Protocol, overload

import numpy as np

from menndl_dask.census import every_genome
from menndl_dask.contest import Terms
from menndl_dask.errors import MenndlError, UserError
from menndl_dask.genome import Genome
from menndl_dask.individual import Individual
from menndl_dask.litter import Child, Litter, Operators
from menndl_dask.objective import FITNESS, Objectives
from menndl_dask.operators.rates import Rates
from menndl_dask.operators.selection import elitist
from menndl_dask.outlook import Entry, Outlook
from menndl_dask.population import Member, Population, Survival, dominates
from menndl_dask.result import FAILURES, Result
from menndl_dask.screening import Screening
from menndl_dask.session import Session
from menndl_dask.space import SearchSpace
from menndl_dask.threads import one_thread

DRAWN = 20  # networks at random, before children are bred
_MEMBERS = 30  # of a population, with few workers
_LITTERS = 12  # whose children compete for an evaluation
_SESSION = 16  # networks that share a contest
_SPARSE = 4  # networks asked for without a result in between that share a litter
# networks that share a litter, and a round, once the surrogate is full, when one result teaches little; from so many in
# flight on twice as many: each is chosen without knowing of all those anyway
_SETTLED, _CROWD = 2, 33
_BELIEVED, _DOUBTED = 100, 4  # results from which on one of so many networks is chosen without the surrogate
_FLYING = 64  # networks in flight, the latest, that a choice keeps away from: what it costs grows with their square
_DRAWS = 200  # random networks drawn in vain before the space counts as exhausted
_COUNTABLE = 20_000  # size up to which a space is searched through for what is left


class SpaceExhausted(MenndlError):  # noqa: N818 – the end of a search, not a mistake
    """Every network of the space has been asked for, or no new one can be found."""


class Optimizer(Protocol):
    """What can drive a search: `Evolution`, or anything else with these methods over the same space."""

    def ask(self) -> Individual:
        """Return the next individual to evaluate; raises `SpaceExhausted` when there is none."""
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
        Where to search.
    seed
        Of everything random. The randomness of one `ask` comes from the seed and the individual's number.
    workers
        Number of evaluations in flight, if known: the population has at least a quarter as many members.
    objectives
        ``fitness`` (maximised) and names of costs or metrics (minimised).
    constraints
        Hard constraints such as ``latency_ms <= 2``.
    initial
        Networks to begin with, such as those of an earlier run or encoded Keras models; brought into the space
        where they do not fit.
    random
        Number of random networks before children are bred.
    capacity
        Size of the population; by default 30, or more with more than 120 workers.
    survival
        Who lives on.
    tournament_size
        Members that compete to become a parent.
    screen
        Breed many children and ask for the one that a surrogate finds most promising.
    litter_size
        Children bred for each `ask`; with screening those of the last few litters compete.
    first
        Number of the first individual; an island of several begins where no other does.
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
        litter_size: int = 6,
        first: int = 0,
    ) -> None:
        self.space = space
        self.seed = seed
        self.first = first
        self.objectives = Objectives.of(objectives, constraints)
        self.population = Population(survival, capacity or max(_MEMBERS, (workers or 0) // 4))
        self.failures: Counter[str] = Counter()
        self._random = random
        self._tournament_size, self._litter_size = tournament_size, litter_size
        # mended with a seed of their own: a search that is carried on begins with the same ones
        self._initial = [space.repair(g, np.random.default_rng([seed, i, 2])) for i, g in enumerate(initial)]
        self._operators = Operators(space)
        self.rates = Rates(self._operators.priors)
        self.screening = Screening(space, self.objectives) if screen else None
        self._litters: deque[Litter] = deque(maxlen=_LITTERS if screen else 1)
        self._session: Session | None = None
        self._former: Session | None = None  # which still serves the network with which another one began
        self._since = 0  # networks asked for since a result was told
        self._sharing = 0  # networks asked for since a litter was put down
        self._keys: set[str] = set()
        self._pending: dict[int, Individual] = {}
        self._told: set[int] = set()
        self._next_id = first
        self._best: Member | None = None
        self._front: list[Member] = []

    @overload
    def ask(self) -> Individual: ...
    @overload
    def ask(self, n: int) -> list[Individual]: ...
    def ask(self, n: int | None = None) -> Individual | list[Individual]:
        """Return the next individual to evaluate, or a list of `n`.

        No two individuals of a run are the same network.

        Raises
        ------
        SpaceExhausted
            If no network is left that has not been asked for. A list may be shorter than `n` for that reason, but
            is not empty.
        """
        if n is None:
            self._put_down()
            individual = self._bred(np.random.default_rng([self.seed, self._next_id]))
            self._note_asked(individual)
            return individual
        asked: list[Individual] = []
        for _ in range(n):
            try:
                asked.append(self.ask())
            except SpaceExhausted:
                if not asked:
                    raise
                break
        return asked

    def recall(self, individual: Individual) -> None:
        """Take note of an individual that was asked for in an earlier process, without breeding it.

        Recalling and telling in the order of a journal puts the algorithm back exactly where it was.
        """
        self._put_down()
        self._note_asked(individual)

    def prepare(self) -> bool:
        """Compute a part of what coming networks will be chosen with, for when there is nothing else to do.

        Which networks are asked for does not depend on it, only how long that takes.

        Returns
        -------
        bool
            Whether there was anything to compute; if so there may be more.
        """
        if self.screening is None or self._session is None:
            return False
        with one_thread():
            return self._prepared(self._session, self.screening.coming)

    def _prepared(self, session: Session, coming: Outlook | None) -> bool:
        if session.hold() or (coming is not None and coming.prepare()):
            return True
        if session.contest is None:
            return False
        return (coming is not None and session.contest.prepare(coming)) or session.contest.mend(self._keys)

    def _note_asked(self, individual: Individual) -> None:
        self._keys.add(individual.genome.key)
        self._pending[individual.id] = individual
        self._next_id = max(self._next_id, individual.id + 1)
        self._since += 1

    def tell(self, individual: Individual, result: Result) -> None:
        """Take the result of an individual, a failure too; a second result of the same individual is passed over."""
        if individual.id in self._told:
            return
        if individual.id not in self._pending:
            self._note_asked(individual)
        del self._pending[individual.id]
        self._told.add(individual.id)
        member = self._learnt(individual, result)
        if member is None:
            self.failures[result.failure or "no objective"] += 1
            self.rates.credit(individual.origin, 0.0)
            return
        self.rates.credit(individual.origin, self._gain(member))
        self.population.add(member)
        self._note(member)

    def has_seen(self, genome: Genome) -> bool:
        """Tell whether a network was asked for or welcomed."""
        return genome.key in self._keys

    def add_migrant(self, individual: Individual, result: Result) -> None:
        """Take in a migrant: a network that another search over this space has bred and evaluated.

        It competes and breeds like those that were bred here, and is never asked for again.
        """
        if individual.id in self._told:
            return
        self._told.add(individual.id)
        self._keys.add(individual.genome.key)
        member = self._learnt(individual, result)
        if member is not None:
            self.population.add(member)
            self._note(member)

    def breeders(self) -> set[int]:
        """Return the numbers of those that may still become parents: the living, and the parents of bred children."""
        living = {member.individual.id for member in self.population.members}
        competing = [session.breeders for session in (self._session, self._former) if session is not None]
        return living.union(*competing, *(litter.breeders for litter in self._litters))

    def emigrants(self, count: int) -> list[tuple[Individual, Result]]:
        """Return the best living members that were bred here, for `add_migrant` elsewhere."""
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
        total = sum(self.failures.values())
        kinds = [
            f"{count} × {kind} ({FAILURES.get(kind, 'an objective is missing in the result')})"
            for kind, count in self.failures.most_common()
        ]
        return (
            f"all {total} networks failed: {'; '.join(kinds)}. If simple networks fail too, look at the data first: "
            "labels, value ranges, and the loss"
        )

    def _learnt(self, individual: Individual, result: Result) -> Member | None:
        """Learn from a result; return it as a member, or nothing where it has no place among the living."""
        if self.screening is not None and self._since:
            self.screening.renew()
        self._since = 0  # whoever is asked for next is chosen with it
        values, violation = self.objectives.values(result), self.objectives.violation(result)
        if self.screening is not None and result.failure != "worker_lost":
            entry = Entry(individual.genome, values, violation == 0)
            if result.failure == "hopeless":
                # viable and low: what it had reached at the rung is about the least that it would have come to
                reached = result.as_if_finished()
                entry = Entry(individual.genome, self.objectives.values(reached), not self.objectives.breaks(reached))
            if entry.values is not None or result.failure != "hopeless":
                self.screening.tell(entry, self._flying())
        return None if values is None else Member(individual, result, values, violation)

    def _gain(self, member: Member) -> float:
        """Return 1 if the member would be in the best quarter of the population, less below."""
        others = self.population.members
        if not others or len(member.values) > 1:
            return 0.5
        better = sum(m.values[0] >= member.values[0] for m in others)
        return 1.0 if better < len(others) / 4 else 0.0

    def _note(self, member: Member) -> None:
        best = self._best
        merit = (-member.violation, member.values[0])
        if best is None or merit > (-best.violation, best.values[0]):
            self._best = member
        if member.violation > 0 or any(dominates(m.values, member.values) for m in self._front):
            return
        self._front = [m for m in self._front if not dominates(member.values, m.values)] + [member]

    def _put_down(self) -> None:
        """Put down a litter, and a round of the contest: as cheap as that, for a replay does it too."""
        seed, weights = (self.seed, self._next_id), self.rates.weights()
        outlook = self._outlook
        full = outlook is not None and outlook.full
        together = 1 if not full else _SETTLED if len(self._pending) < _CROWD else 2 * _SETTLED
        self._sharing += 1
        if self.screening is None or self._sharing >= (_SPARSE if self._since else together):
            self._sharing = 0
            members = self.population.members
            sizes = self._tournament_size, self._litter_size
            self._litters.append(Litter(self._operators, members, weights, *sizes, (*seed, 1)))
        self._former = None
        if outlook is None or self._next_id - self.first < self._random:
            self._session = None
            return
        session, entering = self._session, [self._litters[-1]]
        if session is None or self._next_id - session.number >= _SESSION:
            self._former = session if full else None
            session = Session(self._next_id, self.space, self._operators, len(self.objectives.names))
            self._session, entering = session, list(self._litters)
        elif self._since or self._next_id - session.latest < together:  # hardly more is known than before
            return
        session.put_down(self._next_id, self._terms(outlook, weights), entering)

    @property
    def _outlook(self) -> Outlook | None:
        """What the results let expect; nothing without screening, and until enough is known."""
        return None if self.screening is None else self.screening.outlook

    def _terms(self, outlook: Outlook, weights: Mapping[str, float]) -> Terms:
        return Terms(outlook, weights, tuple(self._flying()), (self.seed, self._next_id, 3))

    def _flying(self) -> Iterator[Genome]:
        latest = islice(reversed(self._pending.values()), _FLYING)
        return (individual.genome for individual in latest)

    def _bred(self, rng: np.random.Generator) -> Individual:
        """Return the next individual: of those given, at random, or bred."""
        while self._initial:
            genome = self._initial.pop(0)
            if genome.key not in self._keys:
                return Individual(self._next_id, genome, (), "seeded")
        bred = None
        if self._next_id - self.first >= self._random:
            bred = self._unscreened() if self._is_doubted() else None
            outlook = self._outlook
            if bred is None and self._session is not None and outlook is not None:
                bred = self._screened(self._session, outlook)
        return bred or Individual(self._next_id, self._fresh(rng), (), "random")

    def _is_doubted(self) -> bool:
        """Tell whether the next network is chosen without the surrogate, which may be wrong somewhere for good."""
        outlook = self._outlook
        if self._session is None or outlook is None:
            return True
        return outlook.known >= _BELIEVED and self._next_id % _DOUBTED == 0

    def _unscreened(self) -> Individual | None:
        """Return the first child that was not asked for before."""
        for child in self._litters[-1]:
            genome = child.mended(self.space)
            if genome.key not in self._keys:
                return self._individual(child, genome)
        return None

    def _screened(self, session: Session, outlook: Outlook) -> Individual | None:
        """Return the most promising child that was not asked for before, of those bred lately and of their children.

        With all the results that the surrogate can hold, one more teaches little: rounds are held after the network for
        which they were put down, when there is time.
        """
        terms = self._terms(outlook, self.rates.weights())
        with one_thread():
            won = (self._former or session).winner(self._next_id, terms, self._keys, late=outlook.full)
        return self._individual(*won) if won else None

    def _individual(self, child: Child, genome: Genome) -> Individual:
        return Individual(self._next_id, genome, tuple(parent.id for parent in child.parents), child.origin)

    def _fresh(self, rng: np.random.Generator) -> Genome:
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
