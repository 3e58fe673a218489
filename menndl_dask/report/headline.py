"""The headline of a search, one sentence: how its network compares with the best standard one. Runs on the driver.

It is about the test split only. The best fitness of a search is the maximum of many noisy values on the validation
split, and says little about other images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from types import NoneType

from menndl_dask.evaluation.sample_scores import read_groups, read_sums
from menndl_dask.evaluation.simple_scores import SimpleScore, read_simple_scores
from menndl_dask.metric import BUILT_IN
from menndl_dask.objective import Objectives
from menndl_dask.problem import Problem
from menndl_dask.report.bootstrap import Difference, difference
from menndl_dask.report.contenders import Ranking, Standing, rankings
from menndl_dask.run.recorder import Compared, evolved
from menndl_dask.run.run import Run
from menndl_dask.text import error_name, fitness_text, metric_title, with_spread
from menndl_dask.training.scoring.significance import SIGNIFICANT
from menndl_dask.validation import demand_kind

UNTESTED = "not tested yet"
_ALIKE = 1.05  # costs that differ by less are about equal
_COSTS = (("parameters", "parameters"), ("flops_forward", "FLOPs"))


@dataclass(frozen=True, slots=True)
class Scored:
    """A network, its number, and its score on the test split with its standard error; None where it is not known."""

    name: str
    number: int
    score: float
    error: float | None
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class OnTest:
    """The evolved network and the best standard one on the test split, and their difference; None if not known."""

    own: Scored
    other: Scored | None
    between: Difference | None
    is_once: bool = False  # whether each was trained once: the difference does not know the chance of a training
    is_other_chosen: bool = False  # whether the validation split chooses the standard one for best.keras
    simple: SimpleScore | None = None  # of the best predictor that is no network


def headline(run: Run, pair: OnTest | None = None) -> str:
    """Return how the network of a run compares with the best standard one on the test split, or that it is not tested.

    ``menndl compare`` is taken before the comparison at the end of a search, and of several budgets the largest. What
    `on_test` has returned may be given, so that it is not computed again.

    Raises
    ------
    UserError
        If this is no run.
    """
    demand_kind("headline: run", run, Run, "a Run, such as Run('runs/mine')")
    demand_kind("headline: pair", pair, (OnTest, NoneType), "what on_test returns")
    problem = run.problem
    if problem is None:
        return f"{UNTESTED}: the search has an evaluation function of its own"
    found = pair or on_test(run, rankings(run))
    if found is not None:
        return sentence(found, problem)
    return headline_of(run.alike, problem, run.path) or f"{UNTESTED}; {_next(run)}"


def on_test(run: Run, ranked: Sequence[Ranking]) -> OnTest | None:
    """Return the networks that the headline of a run compares; None if no evolved one is tested."""
    problem = run.problem
    if problem is None:
        return None
    every = (_of_ranking(ranking) for ranking in reversed(ranked))
    found = next((each for each in every if each is not None), None)
    if found is None:
        return _of_finalists(run.alike, problem, run.path)
    return replace(found, simple=_simple(problem, run.path))


def headline_of(alike: Sequence[Compared], problem: Problem, directory: Path | None = None) -> str:
    """Return the headline for finalists, of which the validation split chooses one; empty if none is tested."""
    found = _of_finalists(alike, problem, directory)
    if found is not None:
        return sentence(found, problem)
    known = _known(alike, problem)
    standard = next((c for c in known if c.is_standard), None)
    if standard is None or all(c.is_standard for c in known):
        return ""
    name = f"test_{problem.metric_name}"
    given = _tested(next(c for c in known if not c.is_standard), name)  # as the search has trained it
    score = f"{metric_title(problem.metric_name)} {with_spread(given.score, given.error)} on test"
    return f"the search found no network that is better than {_spoken(_tested(standard, name).name)}, {score}"


def _of_finalists(alike: Sequence[Compared], problem: Problem, directory: Path | None) -> OnTest | None:
    known, name = _known(alike, problem), f"test_{problem.metric_name}"
    ours = max(evolved(known), key=lambda c: c.result.fitness or 0.0, default=None)
    standard = next((c for c in known if c.is_standard), None)
    if ours is None:
        return None
    simple = _simple(problem, directory)
    if standard is None:
        return OnTest(_tested(ours, name), None, None, simple=simple)
    between = paired(ours, standard, problem, directory) or by_errors(ours, standard, problem)
    order = Objectives.of(problem.objectives, problem.constraints).order
    is_other_chosen = order(standard.result) <= order(ours.result)
    return OnTest(_tested(ours, name), _tested(standard, name), between, True, is_other_chosen, simple)


def _simple(problem: Problem, directory: Path | None) -> SimpleScore | None:
    scores = [] if directory is None else read_simple_scores(directory, problem)
    return scores[0] if scores else None


def _known(alike: Sequence[Compared], problem: Problem) -> list[Compared]:
    name = f"test_{problem.metric_name}"
    return [c for c in alike if c.result.fitness is not None and name in c.result.metrics]


def sentence(found: OnTest, problem: Problem) -> str:
    """Return the headline in a sentence; where the difference is not known, neither network is called better."""
    own, other, between = found.own, found.other, found.between
    simple = _beside_simple(own, found.simple, problem)
    if other is None:
        return f"{own.name}: {metric_title(problem.metric_name)} {with_spread(own.score, own.error)} on test{simple}"
    sign = 1 if problem.metric_mode == "max" else -1
    relation = "beside" if between is None else "as accurate as"
    if between is not None and between.is_certain:
        relation = "more accurate than" if sign * between.value > 0 else "less accurate than"
    scores = f"{with_spread(own.score, own.error)} against {with_spread(other.score, other.error)}"
    less, chosen = "", ""
    if relation == "more accurate than" and BUILT_IN.get(problem.metric_name) == "max" and other.score < 1:
        less = f", {(own.score - other.score) / (1 - other.score):.0%} less error"
    title = metric_title(problem.metric_name)
    costs = f"{_cheaper(own, other)}{_beside_constant(own, other, problem)}{simple}"
    if found.is_once and between is not None and between.is_certain:
        less = f", each trained once{less}"
    if found.is_other_chosen:
        chosen = f"; by the validation split best.keras is {_spoken(other.name)}"
    return f"{own.name} is {relation} {_spoken(other.name)} ({title} {scores} on test{less}){costs}{chosen}"


def _beside_constant(own: Scored, other: Scored, problem: Problem) -> str:
    """Say that a network is no better than a constant prediction, as far as its standard error tells."""
    constant = problem.facts.constant_fitness
    if constant is None or BUILT_IN.get(problem.metric_name) != "max":
        return ""
    poor = [each.score - SIGNIFICANT * (each.error or 0.0) <= constant for each in (own, other)]
    if not poor[0]:
        return ""
    return f"; {'neither' if poor[1] else 'it'} is {'' if poor[1] else 'not '}clearly better than a constant prediction"


def _beside_simple(own: Scored, simple: SimpleScore | None, problem: Problem) -> str:
    """Say that a predictor that is no network is better than a network by more than the network's standard error."""
    sign = 1 if problem.metric_mode == "max" else -1
    if simple is None or sign * (simple.value - own.score) <= (own.error or 0.0):
        return ""
    return f"; {simple.about} is more accurate: {fitness_text(simple.value)}"


def _of_ranking(ranking: Ranking) -> OnTest | None:
    evolved, standard = ranking.evolved, ranking.reference
    if evolved is None or not evolved.test:
        return None
    between = ranking.differences.get(evolved.name)
    own = _standing(evolved, None if between is None else between.error)
    if standard is None or not standard.test:
        return OnTest(own, None, None)
    is_once = len(evolved.test) == len(standard.test) == 1
    return OnTest(own, _standing(standard, None if between is None else between.other_error), between, is_once)


def _standing(standing: Standing, error: float | None) -> Scored:
    spread = stdev(standing.test) if len(standing.test) > 1 else None
    return Scored(standing.name, standing.number, fmean(standing.test), error or spread, standing.costs)


def _tested(compared: Compared, name: str) -> Scored:
    result = compared.result
    short = compared.name.partition(" (budget")[0]
    error = result.metrics.get(error_name(name))
    return Scored(short, compared.individual.id, result.metrics[name], error, result.costs)


def paired(ours: Compared, standard: Compared, problem: Problem, directory: Path | None) -> Difference | None:
    """Return the difference of two trainings on the test split by bootstrap; None where their sums are not kept."""
    if directory is None:
        return None
    groups = read_groups(directory)
    sums = [read_sums(each.sums_path(directory), groups) for each in (ours, standard)]
    if sums[0] is None or sums[1] is None:
        return None
    return difference(sums[0][None], sums[1][None], problem.metric_name)


def by_errors(ours: Compared, standard: Compared, problem: Problem) -> Difference | None:
    """Return the difference of two trainings by their standard errors; None where one has none."""
    name = f"test_{problem.metric_name}"
    if any(c.result.metrics.get(name) is None for c in (ours, standard)):
        return None
    own, other = _tested(ours, name), _tested(standard, name)
    if not own.error or not other.error:
        return None
    value = own.score - other.score
    # errors add as if the test images were different ones: for shared images this is an upper bound
    reach = SIGNIFICANT * math.hypot(own.error, other.error)
    return Difference(value, value - reach, value + reach, own.error, other.error)


def _cheaper(own: Scored, other: Scored) -> str:
    """Say how the costs of two networks compare.

    >>> few, many = ({"parameters": p, "flops_forward": f} for p, f in ((100.0, 100.0), (290.0, 105.0)))
    >>> _cheaper(Scored("", 1, 0.0, None, few), Scored("", 2, 0.0, None, many))
    ' with 2.9 times fewer parameters and as many FLOPs'
    """
    parts = []
    for key, title in _COSTS:
        if own.costs.get(key) and other.costs.get(key):
            ratio = other.costs[key] / own.costs[key]
            if ratio > _ALIKE:
                parts.append(f"{_times(ratio)} times fewer {title}")
            elif ratio < 1 / _ALIKE:
                parts.append(f"{_times(1 / ratio)} times more {title}")
            else:
                parts.append(f"as many {title}")
    return f" with {' and '.join(parts)}" if parts else ""


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def _spoken(name: str) -> str:
    """Return the name of a network as it stands in a sentence.

    >>> _spoken("U-Net, small"), _spoken("ResNet-18")
    ('the small U-Net', 'ResNet-18')
    """
    noun, _, kind = name.partition(", ")
    return f"the {kind} {noun}" if kind else noun


def _next(run: Run) -> str:
    """Say what is missing for a headline."""
    evaluations = [result.succeeded for _, result in run.evaluations]
    if not any(evaluations):
        return "no network has succeeded so far" if evaluations else "no network has been evaluated so far"
    return f"a search does so when it ends, menndl retrain {run.path} at any time"
