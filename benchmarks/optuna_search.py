"""Let an Optuna sampler drive a search in place of `Evolution`: ``pip install optuna``.

Anything with `ask`, `tell`, `recall` and `best` can drive a `Search`. This is the example of it, and a fair baseline:

    Search(problem, space, run="runs/optuna", evolution=OptunaSearch(space)).run(client, evaluations=200)

A network is asked for layer by layer: its kind, its fields, and which earlier layer it reads besides its neighbour.
"""

from __future__ import annotations

from typing import Any, cast, overload

import numpy as np
import optuna

from menndl_dask.errors import UserError
from menndl_dask.genome.domain import Choice, Domain, Integer, PerAxis, Real, compact
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layer import Layer
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace


class OptunaSearch:
    """An optimizer that asks an Optuna sampler for each choice in a genome.

    Parameters
    ----------
    space
        Where to search.
    seed
        Of the sampler that is taken by default.
    sampler
        Any sampler of Optuna; the tree-structured Parzen estimator by default.
    """

    def __init__(
        self, space: SearchSpace, seed: int = 0, sampler: optuna.samplers.BaseSampler | None = None
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self._seed = space, seed
        self._study = optuna.create_study(
            direction="maximize", sampler=sampler or optuna.samplers.TPESampler(seed=seed)
        )
        self._trials: dict[int, optuna.Trial] = {}
        self._best: tuple[Individual, Result] | None = None
        self._next_id = 0

    @overload
    def ask(self) -> Individual: ...
    @overload
    def ask(self, n: int) -> list[Individual]: ...
    def ask(self, n: int | None = None) -> Individual | list[Individual]:
        """Return the next individual, or a list of `n`; Optuna may name a network again."""
        if n is not None:
            return [self.ask() for _ in range(n)]
        trial = self._study.ask()
        genome = self.space.repair(self._genome(trial), np.random.default_rng([self._seed, self._next_id]))
        individual = Individual(self._next_id, genome, origin="optuna")
        self._trials[individual.id] = trial
        self._next_id += 1
        return individual

    def recall(self, individual: Individual) -> None:
        """Take note of an individual of an earlier process: only its number, Optuna cannot be told of foreign ones."""
        self._next_id = max(self._next_id, individual.id + 1)

    def tell(self, individual: Individual, result: Result) -> None:
        """Hand a result on to Optuna."""
        trial = self._trials.pop(individual.id, None)
        if trial is not None and result.fitness is not None:
            self._study.tell(trial, result.fitness)
        elif trial is not None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if result.fitness is not None and (self._best is None or result.fitness > (self._best[1].fitness or -np.inf)):
            self._best = individual, result

    def best(self) -> tuple[Individual, Result]:
        """Return the fittest individual told so far, and its result."""
        if self._best is None:
            raise UserError("no network has been evaluated successfully yet")
        return self._best

    def _genome(self, trial: optuna.Trial) -> Genome:
        genes = [self._gene(trial, kind, f"fixed{i}") for i, kind in enumerate(self.space.fixed)]
        if not self.space.kinds:
            return Genome(tuple(genes))
        names = {kind.__name__: kind for kind in self.space.kinds}
        for i in range(trial.suggest_int("length", self.space.minimum, self.space.maximum)):
            kind = names[trial.suggest_categorical(f"kind{i}", list(names))]
            gene = self._gene(trial, kind, f"{i}.{kind.__name__}")
            if isinstance(gene, Layer) and i > 1:
                further = trial.suggest_categorical(f"further{i}", (0, 2, 3, 4))
                gene = gene.replaced(inputs=(1, further), join="add") if 0 < further <= i else gene
            genes.append(gene)
        return Genome(tuple(genes))

    def _gene(self, trial: optuna.Trial, kind: type[Gene], name: str) -> Gene:
        domains = self.space.domains(kind).items()
        return kind(**{field: _suggested(trial, domain, f"{name}.{field}") for field, domain in domains})


def _suggested(trial: optuna.Trial, domain: Domain, name: str) -> Any:
    if isinstance(domain, Choice):
        return domain.values[trial.suggest_categorical(name, range(len(domain.values)))]
    if isinstance(domain, Integer):
        return trial.suggest_int(name, domain.low, domain.high, log=domain.log)
    if isinstance(domain, PerAxis):
        return compact((_suggested(trial, cast(Domain, domain.inner), name),) * domain.rank)
    assert isinstance(domain, Real)
    return domain.nearest(trial.suggest_float(name, domain.low, domain.high, log=domain.log))
