"""The conclusion of a run, as text: its best networks beside the standard one. Runs on the driver."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from menndl_dask.errors import RunError
from menndl_dask.evaluation.simple_scores import read_simple_scores
from menndl_dask.problem import Problem
from menndl_dask.report.contenders import (
    contender_table,
    contender_text,
    contender_title,
    cost_table,
    cost_title,
    rankings,
    search_cost,
)  # fmt: skip
from menndl_dask.report.finals import final_table, final_title
from menndl_dask.report.headline import by_errors, headline, paired
from menndl_dask.report.table import Row, best_rows, table
from menndl_dask.result import OF_DATA
from menndl_dask.run.recorder import Compared, evolved
from menndl_dask.run.run import Run
from menndl_dask.text import TextTable, fitness_text, metric_title, quantity, with_error

_SHOWN = 5  # networks of the search in the table
_ONCE = "Each was trained once: scores differ from training to training; menndl compare RUN --with standard tells."


def findings(run: Run, *, has_headline: bool = True) -> list[str | TextTable]:
    """Return what a run has found: the headline, if wanted, and tables of networks with what follows from them."""
    problem = run.problem
    metric = f"validation {metric_title(problem.metric_name)}" if problem is not None else "fitness"
    rows = best_rows(run.evaluations, _SHOWN)
    if not rows:
        return [_no_network(run)]
    standard, alike = run.standard, run.alike
    if standard is not None:
        rows.append(Row.of(standard.name, standard.result))
    if problem is not None and problem.facts.constant_fitness is not None:
        rows.append(Row("constant predictor", problem.facts.constant_fitness))
    parts: list[str | TextTable] = [f"Conclusion: {headline(run)}."] if has_headline else []
    parts += [search_title(rows), table(rows, metric)]
    if alike and problem is not None:
        compared = table([Row.of(c.name, c.result) for c in alike], metric)
        parts += [alike_title(alike), compared, conclude(alike, problem, run.path)]
    found = rankings(run)
    for ranking in found:
        parts += [contender_title(ranking), contender_table(ranking)]
        costs = cost_table(ranking)
        parts += [] if costs is None else [cost_title(ranking), costs]
        parts.append(contender_text(ranking))
    if (alike or found) and problem is not None and (beside := simple_text(run.path, problem)):
        parts.append(beside)
    if found and (cost := search_cost(run)):
        parts.append(cost)
    if problem is not None and (finals := run.finals):
        parts += [final_title(finals), final_table(finals, problem)]
    return parts


def alike_title(alike: Sequence[Compared]) -> str:
    """Say what the table of the networks with equal budgets shows."""
    if any(c.factor == 0 for c in alike):
        return "Measured on the test split as they were trained, all with the budget of the search:"
    times = "".join(f"{c.factor:g} times " for c in alike[:1] if c.factor != 1)  # that of all
    return f"Retrained for the comparison, each with {times}the budget of the search:"


def search_title(rows: Sequence[Row]) -> str:
    """Say what the table of the best networks of a search shows."""
    given = " (given: the search began with it)" if any(row.is_given for row in rows) else ""
    return f"The best networks of the search, trained with its budget{given}:"


def _no_network(run: Run) -> str:
    """Say how the networks failed: each kind of failure with its most frequent message."""
    failures = run.failures()
    lines = [f"  {line}" for line in failures.lines()]
    if not lines:
        return "No network has succeeded yet."
    advice = ["If simple networks learn nothing either, look at the data first: menndl check."]
    return "\n".join(["No network has succeeded yet:", *lines, *(advice if failures.leading in OF_DATA else [])])


def shortfall(run: Run) -> str | None:
    """Say in one line what is missing in the outcome of a run, and why, as the journal has it; None if all is there."""
    try:
        best = run.best()
    except RunError:
        return run.failures().describe() or "no network has been evaluated"
    failed = [f"{c.name}: {_failure(c)}" for c in run.alike if not c.result.succeeded]
    if failed:
        return f"could not be retrained: {'; '.join(failed)}"
    if not (run.path / "best.keras").exists():
        why = best.result.message or f"there is no {best.path / 'network.keras'}"
        return f"the best network, {best.individual.id}, was not saved: {why}"
    return None


def fittest(compared: Iterable[Compared]) -> Compared | None:
    """Return the network with the highest fitness on the validation split; None if no training succeeded.

    Of equals it is the standard network, then the one that was proposed first.
    """
    trained = (c for c in compared if c.result.fitness is not None)
    return max(trained, key=lambda c: (c.result.fitness, -c.individual.id), default=None)


def winner(compared: Iterable[Compared]) -> Compared | None:
    """Return the fittest of the finalists, the standard network not included; None if no training succeeded."""
    return fittest(evolved(compared))


def conclude(compared: Sequence[Compared], problem: Problem, directory: Path | None = None) -> str:
    """Return a sentence or two on how the winner compares with the standard network on the test split.

    `compared` has the finalists and the standard network, trained with equal budgets; `directory` is the run directory,
    where the scores of the samples are kept.
    """
    best = winner(compared)
    standard = next((c for c in compared if c.is_standard), None)
    if not evolved(compared):
        return "The search found no network that works, apart from the standard one."
    if best is None:
        failed = [f"{c.name}: {_failure(c)}" for c in evolved(compared)]
        return f"No evolved network could be retrained: {'; '.join(failed)}"
    if standard is None or not standard.result.succeeded:
        beside = "" if standard is None else f" {standard.name} could not be trained: {_failure(standard)}"
        return f"On the test split: {_score(best, problem)}.{beside}"
    scores = f"On the test split: {_score(best, problem)}; {_score(standard, problem)}."
    return " ".join([scores, *_significance(best, standard, problem, directory)])


def simple_text(directory: Path, problem: Problem) -> str:
    """Say what predictors reach on the test split that are no networks; empty if it is not known."""
    scores = read_simple_scores(directory, problem)
    if not scores:
        return ""
    on = "windows of the test images" if problem.by_pixel else "the test split"
    each = ", ".join(f"{score.about} {fitness_text(score.value)}" for score in scores)
    title = metric_title(problem.metric_name)
    return f"What is no network, trained on the same images and scored on {on} ({title}): {each}."


def _significance(best: Compared, standard: Compared, problem: Problem, directory: Path | None) -> list[str]:
    """Say whether the difference on the test split is significant, where the scores of samples or errors are known."""
    sign = 1 if problem.metric_mode == "max" else -1
    found = paired(best, standard, problem, directory)
    if found is not None:
        reach = f"(95 % interval: {found.low:+.4f} to {found.high:+.4f})"
    elif (found := by_errors(best, standard, problem)) is not None:
        reach = f"± {math.hypot(found.error, found.other_error):.2g}"
    else:
        return []
    text = f"{fitness_text(abs(found.value))} {reach}"
    if not found.is_certain:
        return [f"The difference is not significant: {text}."]
    return [f"The evolved network is {'better' if sign * found.value > 0 else 'worse'} by {text}.", _ONCE]


def _score(compared: Compared, problem: Problem) -> str:
    reached = with_error(compared.result.metrics, f"test_{problem.metric_name}")
    costs = compared.result.costs
    sizes = [
        f"{quantity(costs[key])} {title}"
        for key, title in (("parameters", "parameters"), ("flops_forward", "FLOPs"))
        if key in costs
    ]
    beside = f" with {' and '.join(sizes)}" if sizes else ""
    return f"{compared.name} reaches {metric_title(problem.metric_name)} {reached}{beside}"


def _failure(compared: Compared) -> str:
    return f"{compared.result.failure} ({compared.result.message})"
