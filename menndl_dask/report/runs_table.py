"""Several runs side by side: what each has found, and at what cost. Runs on the driver."""

from __future__ import annotations

from collections.abc import Sequence

from menndl_dask.report.conclusion import fittest
from menndl_dask.report.headline import headline
from menndl_dask.run.layout import name_of
from menndl_dask.run.run import Run
from menndl_dask.text import MISSING, TextTable, duration, fitness_text, metric_title, quantity, with_error


def compare_runs(runs: Sequence[Run]) -> list[str | TextTable]:
    """Return a table with a row for each run, what makes them hard to compare, and the conclusion of each.

    The score on the test split is that of the network that the validation split has chosen; it is missing where the
    search has not compared its networks yet.
    """
    head = ["run", "evaluations", "of workers", "best, validation", "chosen", "test", "parameters", "FLOPs"]
    problems = [run.problem for run in runs if run.problem is not None]
    kinds = {
        "data": {problem.facts.fingerprint for problem in problems},
        "metrics": {problem.metric_name for problem in problems},
        "budgets of a network": {str(problem.budget) for problem in problems},
    }
    differing = [name for name, values in kinds.items() if len(values) > 1]
    note = f"note: the runs have different {', '.join(differing)}: their scores cannot be compared as they are"
    conclusions = "\n".join(f"{name_of(run.path.resolve())}: {headline(run)}" for run in runs)
    table = TextTable(head, [_row(run) for run in runs], left=(0, 4))
    return [table, *([note] if differing else []), conclusions]


def _row(run: Run) -> list[str]:
    evaluations = list(iter(run.evaluations))
    seconds = sum(result.times.get("total", 0.0) for _, result in evaluations)
    best = max((r.fitness for _, r in evaluations if r.fitness is not None), default=None)
    metric = "fitness" if run.problem is None else run.problem.metric_name
    chosen = fittest(run.alike)
    costs = {} if chosen is None else chosen.result.costs
    test = MISSING if chosen is None else with_error(chosen.result.metrics, f"test_{metric}")
    return [
        name_of(run.path.resolve()), f"{len(evaluations):,}", duration(seconds),
        f"{metric_title(metric)} {fitness_text(best)}",
        MISSING if chosen is None else chosen.name.partition(" (budget")[0], test,
        *(quantity(costs[name]) if name in costs else MISSING for name in ("parameters", "flops_forward")),
    ]  # fmt: skip
