"""Contenders of `menndl compare`: what each network reaches with several seeds, and which to take. Runs on the driver.

The validation split decides: of the networks within one standard error of the best mean, the cheapest is taken. The
test split is only reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from menndl_dask.evaluation.inference import BUSY
from menndl_dask.evaluation.sample_scores import read_groups, read_sums
from menndl_dask.metric import BUILT_IN
from menndl_dask.problem import Problem
from menndl_dask.report.bootstrap import Difference, Sums, difference
from menndl_dask.run.recorder import CONTENDERS, Compared
from menndl_dask.run.run import Run
from menndl_dask.text import (
    MISSING,
    TextTable,
    duration,
    fitness_text,
    metric_title,
    milliseconds,
    quantity,
    size,
)  # fmt: skip

_FEW_GROUPS = 10


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
        ``parameters``, ``flops_forward``; ``latency_ms``, the smallest of all trainings, as others ran beside them;
        ``training_bytes``, the peak memory beyond the framework's own, and ``train_seconds``, means; and what was
        measured alone, see `menndl_dask.evaluation.inference`.
    failures
        Of the trainings that failed, what happened.
    is_standard
        Whether it is a standard network.
    sums
        What its test scores are computed from; None if that is not known for each training.
    """

    name: str
    number: int
    factor: float
    fitness: tuple[float, ...]
    test: tuple[float, ...]
    costs: dict[str, float]
    failures: tuple[str, ...]
    is_standard: bool = False
    sums: Sums | None = field(default=None, compare=False)

    @property
    def standard_error(self) -> float:
        """Of the mean fitness; NaN with fewer than two trainings."""
        return stdev(self.fitness) / math.sqrt(len(self.fitness)) if len(self.fitness) > 1 else math.nan

    @property
    def kind(self) -> str:
        """``evolved``, ``standard`` or ``random``."""
        return "standard" if self.is_standard else "random" if self.name.startswith("random ") else "evolved"


@dataclass(frozen=True, slots=True)
class Ranking:
    """Networks that were trained with one budget, and how they differ from the best standard one.

    Parameters
    ----------
    standings
        The fittest on average first.
    problem
        What they are for.
    differences
        On the test split, of each network by its name.
    groups
        What is drawn for the intervals, such as ``5 scenes``; empty if there are none.
    few
        Whether these are so few that the intervals are too narrow.
    """

    standings: Sequence[Standing]
    problem: Problem
    differences: Mapping[str, Difference] = field(default_factory=dict)
    groups: str = ""
    few: bool = False

    @property
    def factor(self) -> float:
        """Budget of the trainings, as a multiple of the search's."""
        return self.standings[0].factor

    @property
    def reference(self) -> Standing | None:
        """The standard network that is best on the validation split; None without any."""
        return _best(each for each in self.standings if each.kind == "standard")

    @property
    def evolved(self) -> Standing | None:
        """The evolved network to take; None if none was trained."""
        return recommended([each for each in self.standings if each.kind == "evolved"])


def rankings(run: Run) -> list[Ranking]:
    """Return what `menndl compare` has found, a ranking for each budget, the smallest first."""
    problem, given = run.problem, run.contenders
    if problem is None or not given:
        return []
    measured, found = run.measured, []
    for factor in sorted({c.factor for c in given}):
        alike = [c for c in given if c.factor == factor]
        found.append(_ranking(standings(alike, problem, run.path, measured), problem, run.path))
    return found


def _ranking(found: Sequence[Standing], problem: Problem, directory: Path) -> Ranking:
    ranking = Ranking(found, problem)
    reference, groups = ranking.reference, read_groups(directory)
    if reference is None or reference.sums is None:
        return ranking
    differences = {
        each.name: known
        for each in found
        if each is not reference
        and each.sums is not None
        and (known := difference(each.sums, reference.sums, problem.metric_name)) is not None
    }
    count = reference.sums.shape[1]
    name = groups.name if groups is not None and groups.count == count else "part"
    return Ranking(found, problem, differences, f"{count:,} {name}s" if differences else "", count < _FEW_GROUPS)


def standings(
    contenders: Iterable[Compared],
    problem: Problem,
    directory: Path | None = None,
    measured: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Standing]:
    """Return what each network reached with the budget of the latest training, the fittest on average first.

    Parameters
    ----------
    contenders
        Trainings.
    problem
        What they are for.
    directory
        The run directory, for what the test scores are computed from.
    measured
        As `Run.measured`.
    """
    given = list(contenders)
    groups: dict[str, list[Compared]] = {}
    for each in given:
        if each.factor == given[-1].factor:
            groups.setdefault(each.individual.genome.key, []).append(each)
    found = []
    for key, group in groups.items():
        alone = (measured or {}).get(key, {})
        found.append(_standing(group, f"test_{problem.metric_name}", alone, directory))
    return sorted(found, key=lambda s: -fmean(s.fitness) if s.fitness else math.inf)


def _best(found: Iterable[Standing]) -> Standing | None:
    return max((each for each in found if each.fitness), key=lambda s: fmean(s.fitness), default=None)


def recommended(found: Sequence[Standing]) -> Standing | None:
    """Return the cheapest network, by FLOPs, within one standard error of the best; None if all trainings failed."""
    best = _best(found)
    if best is None:
        return None
    error = 0.0 if math.isnan(best.standard_error) else best.standard_error
    near = [s for s in found if s.fitness and fmean(s.fitness) >= fmean(best.fitness) - error]
    return min(near, key=lambda s: (s.costs.get("flops_forward", math.inf), s is not best))


def contender_table(ranking: Ranking) -> TextTable:
    """Return the table of scores: means over the trainings ± their standard deviation."""
    problem, metric = ranking.problem, metric_title(ranking.problem.metric_name)
    errors, differences = BUILT_IN.get(problem.metric_name) == "max", ranking.differences
    head = ["network", "trainings", f"validation {metric}", f"test {metric}", *(["test error"] if errors else [])]
    head += ["difference, 95 %"] if differences else []
    body = []
    for each in ranking.standings:
        wrong = tuple(1 - value for value in each.test) if problem.metric_mode == "max" else each.test
        known = differences.get(each.name)
        between = MISSING if known is None else f"{known.value:+.4f} ({known.low:+.4f} to {known.high:+.4f})"
        body.append(
            [
                each.name,
                f"{len(each.fitness)}" + (f" of {len(each.fitness) + len(each.failures)}" if each.failures else ""),
                _spread(each.fitness),
                _spread(each.test),
                *([_spread(wrong)] if errors else []),
                *([between] if differences else []),
                *_costs(each, _SIZES),
            ]
        )
    return TextTable([*head, *(title for title, _, _ in _SIZES)], body)


def cost_table(ranking: Ranking) -> TextTable | None:
    """Return the table of what predictions and trainings cost; None if nothing of it was measured."""
    columns = [column for column in _COSTS if any(column[1] in each.costs for each in ranking.standings)]
    if not columns:
        return None
    body = [[each.name, *_costs(each, columns)] for each in ranking.standings]
    return TextTable(["network", *(title for title, _, _ in columns)], body)


def contender_title(ranking: Ranking) -> str:
    """Say what the table shows."""
    factor = ranking.factor
    budget = "the budget of the search" if factor == 1 else f"{factor:g} times the budget of the search"
    text = f"Trained with several seeds and {budget} (mean ± standard deviation over the seeds"
    if ranking.differences and ranking.reference is not None:
        text += f"; difference to {ranking.reference.name} on the test split with its 95 % interval, drawn over "
        text += f"{ranking.groups} and the seeds"
        text += ", which are few: the interval is too narrow" if ranking.few else ""
    return f"{text}):"


def cost_title(ranking: Ranking) -> str:
    """Say how the costs were measured."""
    if all("busy_share" not in each.costs for each in ranking.standings):
        return "What predictions cost (latency while other trainings ran, the smallest of all):"
    shares = [each.costs["busy_share"] for each in ranking.standings if "busy_share" in each.costs]
    text = "What predictions cost, each network measured alone after all trainings"
    if max(shares) > BUSY:
        text += f", but not on an idle machine: other processes took up to {max(shares):.0%} of its cores"
    return f"{text}; memory is that beyond the framework's own:"


def contender_text(ranking: Ranking) -> str:
    """Say in some sentences which network to take and why, and which trainings failed."""
    found = ranking.standings
    taken, best = recommended(found), _best(found)
    parts = []
    if taken is not None and best is not None:
        why = "the best on the validation split"
        if taken is not best:
            why = f"the one with the fewest FLOPs within one standard error of the best, {best.name}"
        parts.append(f"To take: {taken.name}, {why}.")
    parts += [f"{each.name}: {failure}." for each in found for failure in dict.fromkeys(each.failures)]
    return " ".join(parts)


def search_cost(run: Run) -> str:
    """Say how long workers have searched, and for how long random networks were evaluated; empty without times."""
    seconds, number = _spent(run)
    if not seconds:
        return ""
    text = f"The search took {_hours(seconds)} of workers for {number} networks"
    if (run.path / CONTENDERS / "random" / "run.yaml").exists():
        seconds, number = _spent(Run(run.path / CONTENDERS / "random"))
        text += f", random search {_hours(seconds)} for {number}"
    return f"{text}."


def _spent(run: Run) -> tuple[float, int]:
    times = [result.times.get("total", 0.0) for _, result in run.evaluations]
    return sum(times), len(times)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2g} h"


def _standing(
    group: Sequence[Compared], test: str, measured: Mapping[str, float], directory: Path | None
) -> Standing:
    done = [c for c in group if c.result.fitness is not None]
    trained = [c.result for c in done]
    costs: dict[str, float] = {}
    for key in ("parameters", "flops_forward", "latency_ms"):
        known = [r.costs[key] for r in trained if key in r.costs]
        costs |= {key: min(known)} if known else {}
    needed = [r.costs["memory_bytes"] - r.costs["framework_bytes"] for r in trained if "framework_bytes" in r.costs]
    seconds = [r.costs["train_seconds"] for r in trained if "train_seconds" in r.costs]
    costs |= {"training_bytes": max(needed)} if needed else {}
    costs |= {"train_seconds": fmean(seconds)} if seconds else {}
    return Standing(
        group[-1].name,
        group[-1].individual.id,
        group[-1].factor,
        tuple(r.fitness for r in trained if r.fitness is not None),
        tuple(r.metrics[test] for r in trained if test in r.metrics),
        {**costs, **measured},
        tuple(f"{c.result.failure} ({c.result.message})" for c in group if c.result.fitness is None),
        group[-1].is_standard,
        None if directory is None else _sums(done, directory),
    )


def _sums(done: Sequence[Compared], directory: Path) -> Sums | None:
    groups = read_groups(directory)
    found = [read_sums(each.sums_path(directory), groups) for each in done]
    known = [each for each in found if each is not None]
    if not known or len(known) < len(found) or len({each.shape for each in known}) > 1:
        return None
    return np.stack(known)


def _costs(standing: Standing, columns: Sequence[tuple[str, str, Callable[[float], str]]]) -> list[str]:
    return [show(standing.costs[key]) if key in standing.costs else MISSING for _, key, show in columns]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return MISSING
    return fitness_text(fmean(values)) + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


_SIZES = (("parameters", "parameters", quantity), ("FLOPs", "flops_forward", quantity))
_COSTS = (
    ("latency", "latency_ms", milliseconds),
    ("samples/s", "samples_per_s", quantity),
    ("memory to predict", "inference_bytes", size),
    ("memory to train", "training_bytes", size),
    ("training", "train_seconds", duration),
)
