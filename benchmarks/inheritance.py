"""Whether it pays that children begin with their parents' weights: real searches on digits, at equal cost.

    python -m benchmarks.inheritance --seeds 4 --epochs 4 --cost 160 --keep results.jsonl

The networks of a search are trained for so many epochs each, until all together have had `--cost` epochs: with and
without inheritance, from the same first networks. The best network of each search is then trained from scratch for four
times the budget, with several seeds. Printed are both fitnesses (accuracy on 977 validation images, after 800 to train
on), and how much better inheritance is, seed by seed. With `--keep` what was done is read from a file, and carried on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.digits_table import problem as digits
from menndl_dask import Budget, Evolution, Limits, Problem, Result, SearchSpace, evaluate
from menndl_dask.individual import Individual
from menndl_dask.legacy import legacies_of
from menndl_dask.rung import Rungs

_LIMITS = Limits(300)
_LONGER, _TRAININGS = 4, 3  # of the best network, in the end
_DRAWN = 10  # networks at random, before children are bred


@dataclass(frozen=True, slots=True)
class Outcome:
    """One search: what it was, and what came of it."""

    seed: int
    epochs: float
    inherit: bool
    cost: float
    evaluations: int
    train_seconds: float
    share: float  # of the parameters of children that were inherited
    best: float
    retrained: float


def searched(problem: Problem, seed: int, cost: float) -> Outcome:
    """Search until so many epochs are spent, and train the best network from scratch."""
    budget = problem.budget
    evolution = Evolution(SearchSpace.image(problem, max_parameters=100_000, max_flops=4e6), seed=seed, random=_DRAWN)
    rungs = Rungs(budget)
    results: list[Result] = []
    spent = 0.0
    with tempfile.TemporaryDirectory() as folder:
        legacies = legacies_of(Path(folder), None, evolution, budget.inherit)
        while spent < cost:
            individual = evolution.ask()
            given = {"seed": 1000 * seed + individual.id, "bars": rungs.bars(), **legacies.arguments(individual)}
            results.append(evaluate(individual, problem, _LIMITS, **given))
            evolution.tell(individual, results[-1])
            legacies.tell(individual, results[-1])
            rungs.tell(results[-1])
            spent += max((float(point["epoch"]) for point in results[-1].curve), default=0.0)
    shares = [result.inherited_share for result in results if result.inherited_share is not None]
    best, result = evolution.best()
    return Outcome(
        seed, budget.epochs or 0.0, budget.inherit, spent, len(results),
        sum(r.costs.get("train_seconds", 0.0) for r in results), float(np.mean(shares)) if shares else 0.0,
        result.fitness or 0.0, retrained(problem, best),
    )  # fmt: skip


def retrained(problem: Problem, best: Individual) -> float:
    """Return the mean fitness of a network that is trained from scratch, and for longer."""
    longer = replace(problem, budget=replace(problem.budget.times(_LONGER).unbroken(), inherit=False))
    results = [evaluate(best, longer, _LIMITS, seed=seed) for seed in range(_TRAININGS)]
    return float(np.mean([result.fitness or 0.0 for result in results]))


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table: means with standard errors, and differences seed by seed."""
    lines = [
        "| epochs | inherit | searches | networks | training s | inherited | best of search | trained from scratch |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for epochs in sorted({o.epochs for o in outcomes}):
        arms = {arm: {o.seed: o for o in outcomes if o.epochs == epochs and o.inherit == arm} for arm in (False, True)}
        for arm, found in arms.items():
            each = list(found.values())
            if each:
                count, seconds, share = np.mean([(o.evaluations, o.train_seconds, o.share) for o in each], axis=0)
                best, again = (_told([getattr(o, name) for o in each]) for name in ("best", "retrained"))
                cells = ["yes" if arm else "no", f"{len(each)}", f"{count:.0f}", f"{seconds:.0f}", f"{share:.0%}"]
                lines.append(f"| {epochs:g} | {' | '.join(cells)} | {best} | {again} |")
        both = sorted(arms[False].keys() & arms[True].keys())
        if both:
            best, again = (
                _told([getattr(arms[True][s], name) - getattr(arms[False][s], name) for s in both], sign="+")
                for name in ("best", "retrained")
            )
            lines.append(f"| {epochs:g} | difference | {len(both)} | | | | {best} | {again} |")
    return "\n".join(lines)


def _told(values: Sequence[float], sign: str = "") -> str:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{np.mean(values):{sign}.4f} ± {error:.4f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, train and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=float, nargs="+", default=[4.0], help="of a network (default: 4)")
    parser.add_argument("--cost", type=float, default=160, help="epochs of a search, all networks (default: 160)")
    parser.add_argument("--keep", type=Path, help="file for the results")
    given = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = given.keep.read_text("utf-8").splitlines() if given.keep is not None and given.keep.exists() else []
    outcomes = [Outcome(**json.loads(line)) for line in kept]
    done = {(o.seed, o.epochs, o.inherit) for o in outcomes}
    with tempfile.TemporaryDirectory() as folder:
        problem = digits(Path(folder))
        for seed, epochs, inherit in product(range(given.seeds), given.epochs, (False, True)):
            if (seed, epochs, inherit) in done:
                continue
            budget = Budget(epochs=epochs, learning_rate=0.003, inherit=inherit)
            outcomes.append(searched(replace(problem, budget=budget, seed=seed), seed, given.cost))
            if given.keep is not None:
                with given.keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcomes[-1])) + "\n")
            sys.stderr.write(f"{outcomes[-1]}\n")
    sys.stdout.write(table(outcomes) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
