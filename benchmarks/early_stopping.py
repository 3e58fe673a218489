"""What early stopping saves and loses: real trainings to the end, replayed with early stopping.

    python benchmarks/early_stopping.py
    python benchmarks/early_stopping.py --networks 90 --random 60 --epochs 9 --keep curves.jsonl
    python benchmarks/early_stopping.py --epochs 4 --looks 6
    python benchmarks/early_stopping.py --run runs/mine     # the networks of a search, in its order

Networks for the handwritten digits are trained to the end once, without early stopping: random ones, then children of
an evolution that knows all results. Their learning curves are then replayed in many orders by simulated workers: a
network below a threshold that was known when it was submitted ends at that rung. Printed for each rule are the share of
the training time that it saves, how many of the five best networks (of equals those of smallest loss) it stops, the
mean fitness of the five best that are left, the best one's, and the best fitness by the time in which half of the
networks are trained without early stopping. With `--keep` the curves are written to a file, and read from there next
time.

With `--run` the networks of a finished search are replayed in its order by one worker, with and without comparison with
the initial network. Those that the search has stopped itself end there in each row.

The rule that a network must have learnt something needs more than a curve; it is replayed by the fitness alone, which
stops a few networks more than the real one.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE.parent / "workflows"))

from digits import write_digits  # noqa: E402

from menndl_dask import Budget, Evolution, Limits, Problem, Result, SearchSpace, evaluate, open_problem  # noqa: E402
from menndl_dask.run.run import Run  # noqa: E402
from menndl_dask.search.rungs import PruningRules, fitness_at  # noqa: E402
from menndl_dask.training.request import Threshold  # noqa: E402

_BEST = 5
_THIRDS = (0.33, 0.66)
_QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of early stopping.

    Parameters
    ----------
    name
        In the table.
    rungs, rung_quantile, extrapolate
        As in `Budget`.
    constant
        Fitness that a network must exceed at the first rung, or nothing.
    """

    name: str
    rungs: tuple[float, ...] = ()
    rung_quantile: float = 1.0
    extrapolate: bool = False
    constant: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One replay: what share of the training time was saved, and what came of it."""

    saved: float
    lost: float
    best_five: float
    best: float
    best_in_half: float


def rules(constant: float, epochs: float) -> list[Rule]:
    """Return the rules that are compared; the last is the default."""
    usual = Budget(epochs=1)
    ends = tuple(math.ceil(rung * epochs) / epochs for rung in usual.rungs)
    return [
        Rule("none"),
        Rule("learnt nothing at a third", _THIRDS, constant=constant),
        *(Rule(f"behind, {share:.0%} pass", _THIRDS, share) for share in (0.34, 0.5, 0.67, 0.8)),
        Rule("out of reach", _THIRDS, extrapolate=True),
        *(Rule(f"both, {share:.0%} pass", _THIRDS, share, True) for share in (0.34, 0.5, 0.67, 0.8)),
        Rule("both, 50% pass, three rungs", _QUARTERS, 0.5, True),
        Rule("the default, at the next end of an epoch", ends, usual.rung_quantile, usual.extrapolate, constant),
        Rule("**the default**", usual.rungs, usual.rung_quantile, usual.extrapolate, constant),
    ]


def replayed(results: Sequence[Result], rule: Rule, workers: int) -> Outcome:
    """Replay trainings in the order given, as so many workers would have done them."""
    budget = Budget(epochs=1, rungs=rule.rungs, rung_quantile=rule.rung_quantile, extrapolate=rule.extrapolate)
    rungs = PruningRules(budget)
    best = {id(r) for r in sorted(results, key=_merit)[:_BEST]}
    whole = sum(_seconds(r) for r in results)
    spent, lost, found, ends = 0.0, 0, [(0.0, 0.0)], []
    flying: list[tuple[float, int, Result]] = []
    waiting = iter(enumerate(results))
    now = 0.0
    while True:
        for number, result in itertools.islice(waiting, workers - len(flying)):
            ended = stopped(result, rungs.thresholds(), rule)
            lost += ended.fitness is None and id(result) in best
            heapq.heappush(flying, (now + _seconds(ended), number, ended))
        if not flying:
            break
        now, _, home = heapq.heappop(flying)
        spent += _seconds(home)
        rungs.tell(home)
        ends.append(home.fitness or 0.0)
        found.append((spent, max(found[-1][1], home.fitness or 0.0)))
    in_half = max(fitness for at, fitness in found if at <= whole / 2)
    return Outcome(1 - spent / whole, lost, float(np.mean(sorted(ends)[-_BEST:])), found[-1][1], in_half)


def of_run(path: Path) -> Iterator[str]:
    """Yield the rows of a table: what the initial network's curve saves in a search, beside the other rules."""
    evaluations = [(i, r) for i, r in Run(path).evaluations if r.curve and r.failure in (None, "pruned")]
    whole = sum(_seconds(result) for _, result in evaluations)
    best = {i.id for i, _ in sorted(evaluations, key=lambda each: -(each[1].fitness or -math.inf))[:_BEST]}
    yield "| rules | networks stopped | training time saved | of the best five lost | best of those stopped | initial |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    usual = Budget(epochs=1)
    for name, has_initial in (("without the initial network", False), ("all", True)):
        rungs, spent, ended = PruningRules(usual), 0.0, []
        rule = Rule(name, usual.rungs, usual.rung_quantile, usual.extrapolate)
        given = math.nan
        for individual, result in evaluations:
            seen = stopped(result, rungs.thresholds(), rule)
            is_given = individual.origin == "seeded"
            given = result.fitness or math.nan if is_given else given
            rungs.tell(seen, is_initial=has_initial and is_given)
            spent += _seconds(seen)
            ended += [(individual.id, result.fitness or 0.0)] if seen.fitness is None else []
        lost = len(best & {number for number, _ in ended})
        most = max((fitness for _, fitness in ended), default=math.nan)
        cells = f"{len(ended)} of {len(evaluations)} | {1 - spent / whole:.0%} | {lost} | {most:.3f} | {given:.3f}"
        yield f"| {name} | {cells} |".replace("%", " %")


def stopped(result: Result, thresholds: Sequence[Threshold], rule: Rule) -> Result:
    """Return what becomes of a training that must reach these thresholds."""
    for share in rule.rungs:
        reached = fitness_at(result.curve, share)
        if reached is None or share >= 1:
            continue
        learnt_nothing = rule.constant is not None and share == rule.rungs[0] and reached <= rule.constant
        here = [threshold for threshold in thresholds if threshold.share == share]
        if learnt_nothing or any(threshold.stops(reached, result.costs) for threshold in here):
            until = next(i for i, p in enumerate(result.curve, 1) if p["share"] >= share - 1e-9)
            kind = "no_learning" if learnt_nothing else "pruned"
            if until < len(result.curve):
                return replace(result, fitness=None, failure=kind, curve=result.curve[:until])
    return result


def table(results: Sequence[Result], compared: Sequence[Rule], workers: int, orders: int) -> Iterator[str]:
    """Yield the rows of a table: the mean of many orders of the same networks, and their standard error."""
    yield "| rule | training time saved | of the best five lost | best five | best | best in half of the time |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    rng = np.random.default_rng(0)
    shuffled = [[results[i] for i in rng.permutation(len(results))] for _ in range(orders)]
    for rule in compared:
        outcomes = [replayed(each, rule, workers) for each in shuffled]
        saved, lost, five, best, half = np.mean([astuple(o) for o in outcomes], axis=0)
        error = float(np.std([o.best_in_half for o in outcomes])) / len(outcomes) ** 0.5
        row = f"| {rule.name} | {saved:.0%} | {lost:.2f} | {five:.4f} | {best:.4f} | {half:.4f} ± {error:.4f} |"
        yield row.replace("%", " %")


def trained(problem: Problem, count: int, random: int, keep: Path | None) -> list[Result]:
    """Train networks to the end, or read their results where they were kept."""
    if keep is not None and keep.exists():
        return [Result.from_dict(json.loads(line)) for line in keep.read_text(encoding="utf-8").splitlines()]
    space = SearchSpace.image(problem, max_parameters=200_000, max_flops=5e6)
    evolution = Evolution(space, seed=1, random=random)
    results = []
    for number in range(count):
        individual = evolution.ask()
        results.append(evaluate(individual, problem, Limits(60)))
        evolution.tell(individual, results[-1])
        sys.stderr.write(f"\r{number + 1} of {count} networks trained")
        sys.stderr.flush()
        if keep is not None:
            with keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(results[-1].to_dict()) + "\n")
    sys.stderr.write("\n")
    return results


def described(results: Sequence[Result], constant: float) -> str:
    """Return in words what was trained."""
    fitness = np.array([r.fitness for r in results if r.fitness is not None])
    nothing = int((fitness <= constant + 0.02).sum())
    told = f"{len(results)} networks, {nothing} of which had learnt nothing at the end; fitness: best"
    return f"{told} {fitness.max():.4f}, fifth {np.sort(fitness)[-_BEST]:.4f}, median {np.median(fitness):.4f}"


def _seconds(result: Result) -> float:
    last: Mapping[str, float] = result.curve[-1] if result.curve else {}
    return float(last.get("seconds", 0.0))


def _merit(result: Result) -> tuple[float, float]:
    return -(result.fitness or 0.0), result.metrics["loss"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, replay and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=90)
    parser.add_argument("--random", type=int, default=60, help="how many of them are random (default: 60)")
    parser.add_argument("--epochs", type=float, default=9)
    parser.add_argument("--looks", type=int, default=1, help="in an epoch, whichever rule is replayed (default: 1)")
    parser.add_argument("--schedule", default="cosine", help="of the learning rate: cosine (default) or constant")
    parser.add_argument("--workers", type=int, default=8, help="simulated (default: 8)")
    parser.add_argument("--orders", type=int, default=100, help="in which the networks are replayed (default: 100)")
    parser.add_argument("--keep", type=Path, help="file for the results")
    parser.add_argument("--run", type=Path, help="a finished search to replay instead")
    given = parser.parse_args(arguments)
    if given.run is not None:
        sys.stdout.write("\n".join([*of_run(given.run), ""]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        data = write_digits(Path(folder) / "digits.zarr")
        looks = np.arange(1, given.epochs * given.looks) / (given.epochs * given.looks)
        budget = Budget(epochs=given.epochs, schedule=given.schedule).without_early_stopping()
        budget = replace(budget, rungs=tuple(looks.tolist()))
        problem = open_problem(data, task="classification", budget=budget)
        constant = problem.facts.constant_fitness or 0.0
        results = [r for r in trained(problem, given.networks, given.random, given.keep) if r.succeeded]
    parts = {"All": results, "The random ones alone": results[: given.random]}
    for name, part in parts.items():
        rows = table(part, rules(constant, given.epochs), given.workers, given.orders)
        sys.stdout.write("\n".join([f"{name}: {described(part, constant)}.\n", *rows, "", ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
