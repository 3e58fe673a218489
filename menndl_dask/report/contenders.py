"""Contenders of `menndl compare`: what each network reaches with several seeds, and which to take. Runs on the driver.

The validation split decides: of the networks within one standard error of the best mean, the cheapest is taken. The
test split is only reported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from menndl_dask.metric import BUILT_IN
from menndl_dask.problem import Problem
from menndl_dask.run.recorder import Compared
from menndl_dask.text import MISSING, TextTable, fitness_text, metric_title, milliseconds, quantity


@dataclass(frozen=True, slots=True)
class Standing:
    """What a network reached.

    Parameters
    ----------
    name
        Of the network.
    factor
        Budget of its trainings, as a multiple of the search's.
    fitness, test
        The metric on the validation split (as a fitness: larger is better) and on the test split, of each training that
        succeeded.
    costs
        ``parameters``, ``flops_forward``, ``latency_ms``: the smallest of all trainings, as others ran beside them.
    failures
        Of the trainings that failed, what happened.
    """

    name: str
    factor: float
    fitness: tuple[float, ...]
    test: tuple[float, ...]
    costs: dict[str, float]
    failures: tuple[str, ...]

    @property
    def standard_error(self) -> float:
        """Of the mean fitness; NaN with fewer than two trainings."""
        return stdev(self.fitness) / math.sqrt(len(self.fitness)) if len(self.fitness) > 1 else math.nan


def standings(contenders: Iterable[Compared], problem: Problem) -> list[Standing]:
    """Return what each network reached with the budget of the latest training, the fittest on average first."""
    given = list(contenders)
    groups: dict[str, list[Compared]] = {}
    for each in given:
        if each.factor == given[-1].factor:
            groups.setdefault(each.individual.genome.key, []).append(each)
    found = [_standing(group, f"test_{problem.metric_name}") for group in groups.values()]
    return sorted(found, key=lambda s: -fmean(s.fitness) if s.fitness else math.inf)


def recommended(found: Sequence[Standing]) -> Standing | None:
    """Return the cheapest network, by FLOPs, within one standard error of the best; None if all trainings failed."""
    trained = [standing for standing in found if standing.fitness]
    if not trained:
        return None
    best = max(trained, key=lambda s: fmean(s.fitness))
    error = 0.0 if math.isnan(best.standard_error) else best.standard_error
    near = [s for s in trained if fmean(s.fitness) >= fmean(best.fitness) - error]
    return min(near, key=lambda s: (s.costs.get("flops_forward", math.inf), s is not best))


def contender_table(found: Sequence[Standing], problem: Problem) -> TextTable:
    """Return the table: means over the trainings ± their standard deviation."""
    metric, errors = metric_title(problem.metric_name), _has_error(problem)
    head = ["network", "trainings", metric, f"test {metric}", *(["test error"] if errors else [])]
    body = []
    for each in found:
        wrong = tuple(1 - value for value in each.test) if problem.metric_mode == "max" else each.test
        body.append(
            [
                each.name,
                f"{len(each.fitness)}" + (f" of {len(each.fitness) + len(each.failures)}" if each.failures else ""),
                _spread(each.fitness),
                _spread(each.test),
                *([_spread(wrong)] if errors else []),
                *(show(each.costs[key]) if key in each.costs else MISSING for _, key, show in _COSTS),
            ]
        )
    return TextTable([*head, *(title for title, _, _ in _COSTS)], body)


def contender_title(found: Sequence[Standing]) -> str:
    """Say what the table shows."""
    budget = (
        "the budget of the search" if found[0].factor == 1 else f"{found[0].factor:g} times the budget of the search"
    )
    return f"Trained with several seeds and {budget} (mean ± standard deviation over the seeds):"


def contender_text(found: Sequence[Standing]) -> str:
    """Say in some sentences which network to take and why, and which trainings failed."""
    taken = recommended(found)
    parts = []
    if taken is not None:
        best = max((s for s in found if s.fitness), key=lambda s: fmean(s.fitness))
        why = "the best on the validation split"
        if taken is not best:
            why = f"the one with the fewest FLOPs within one standard error of the best, {best.name}"
        parts.append(f"To take: {taken.name}, {why}.")
    parts += [f"{each.name}: {failure}." for each in found for failure in dict.fromkeys(each.failures)]
    return " ".join(parts)


def _standing(group: Sequence[Compared], test: str) -> Standing:
    trained = [c.result for c in group if c.result.fitness is not None]
    keys = [key for _, key, _ in _COSTS]
    measured = {key: [r.costs[key] for r in trained if key in r.costs] for key in keys}
    return Standing(
        group[-1].name,
        group[-1].factor,
        tuple(r.fitness for r in trained if r.fitness is not None),
        tuple(r.metrics[test] for r in trained if test in r.metrics),
        {key: min(values) for key, values in measured.items() if values},
        tuple(f"{c.result.failure} ({c.result.message})" for c in group if c.result.fitness is None),
    )


def _has_error(problem: Problem) -> bool:
    """Tell whether the metric is one of ours, of which 1 is the best value, so that the rest is an error."""
    return BUILT_IN.get(problem.metric_name) == "max"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return MISSING
    return fitness_text(fmean(values)) + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


_COSTS = (
    ("parameters", "parameters", quantity),
    ("FLOPs", "flops_forward", quantity),
    ("latency", "latency_ms", milliseconds),
)
