"""Runs that never ran, for tests of what is shown: real genomes, made-up but plausible results."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import cycle

import numpy as np

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.individual import Evaluation, Individual
from menndl_dask.problem import Problem
from menndl_dask.report.content import ReportContent
from menndl_dask.report.table import Row
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace
from tests.problems import problem

START = 1_750_000_000.0  # seconds since the epoch
STEM = problem("segmentation", ((64, 64, 1),), outputs=4)


def evaluations(count: int, of: Problem = STEM, *, failing: float = 0.25, seed: int = 0) -> list[Evaluation]:
    """Return individuals and results as a search might have them."""
    space = SearchSpace.image(of)
    rng = np.random.default_rng(seed)
    return [_evaluation(n, space, of, failing, rng) for n in range(count)]


def _evaluation(n: int, space: SearchSpace, of: Problem, failing: float, rng: np.random.Generator) -> Evaluation:
    genome = space.sample(rng)
    individual = Individual(n, genome, (n // 2, n // 3) if n > 8 else (), "crossover" if n > 8 else "random")
    times = {"data": 0.4, "build": 1.2, "train": float(rng.uniform(8, 30)), "measure": 0.8}
    times["total"] = sum(times.values())
    worker = f"tcp://127.0.0.1:4{n % 2}001"
    if rng.random() < failing:
        kind = str(rng.choice(["no_learning", "no_learning", "no_learning", "timed_out", "out_of_memory"]))
        return individual, Result.failed(kind, f"{kind} after step {n}", times=times, worker=worker)
    cost = cost_of(genome, of)
    talent = 0.35 + 0.1 * math.log10(cost.parameters) * (1 - math.exp(-(n + 5) / 30)) + 0.05 * rng.standard_normal()
    fitness = float(min(0.93, max(0.05, talent)))
    curve = tuple(
        {
            "epoch": float(e),
            "seconds": e * 2.0,
            "loss": 1.4 * math.exp(-e / 4) + 0.1,
            "val_loss": 1.4 * math.exp(-e / 4) + 0.15 + 0.004 * e,
            "fitness": fitness * (1 - math.exp(-e / 3)),
        }
        for e in range(1, 11)
    )
    costs = {
        "parameters": float(cost.parameters),
        "flops_forward": float(cost.flops_forward),
        "latency_ms": float(0.3 + cost.flops_forward / 4e8),
        "train_seconds": times["train"],
    }
    return individual, Result(fitness, costs=costs, curve=curve, times=times, worker=worker)


def told(entries: list[Evaluation]) -> dict[int, float]:
    """Return when each result came home, as if each worker took one network after the other."""
    ends: dict[str, float] = {}
    home: dict[int, float] = {}
    for individual, result in entries:
        ends[result.worker] = ends.get(result.worker, START) + result.times["total"] + 0.2
        home[individual.id] = ends[result.worker]
    return home


STANDARD = Row(
    "U-Net", 0.741, {"parameters": 118_000.0, "flops_forward": 2.1e8, "latency_ms": 1.9, "train_seconds": 21.0}
)


@cache
def story(count: int = 60, *, failing: float = 0.25) -> ReportContent:
    """Return a whole story of a search on images of atoms."""
    entries = evaluations(count, failing=failing)
    return ReportContent(
        entries,
        STEM,
        "stem",
        standard=STANDARD,
        notes=[
            {"time": START + 70, "message": "worker tcp://127.0.0.1:40001 was lost; its network runs again"},
            {"time": START + 300, "message": "carried on after 31 evaluations; a torn last line was dropped"},
        ],
        completed_at=told(entries),
        asked=count,
        command="menndl search stem.zarr --evaluations 60 --run runs/stem",
        seed=7,
        versions={"python": "3.11", "keras": "3.15"},
        written=START + 900,
    )


def as_if(count: int) -> ReportContent:
    """Return the story of a search of any length, told quickly: the same few networks again and again."""
    short = story(60)
    entries = [
        (replace(individual, id=n), result)
        for n, (individual, result) in zip(range(count), cycle(short.evaluations), strict=False)
    ]
    return replace(short, evaluations=entries, completed_at=told(entries), asked=count)


def all_failed(count: int = 20) -> ReportContent:
    """Return the story of a search in which nothing was learnt."""
    short = story(count)
    failure = Result.failed("no_learning", "no better than chance", times={"total": 3.0}, worker="one:1")
    entries = [(individual, failure) for individual, _ in short.evaluations]
    return replace(short, evaluations=entries, completed_at=told(entries), standard=None)


def empty() -> ReportContent:
    """Return the story of a search that has just begun."""
    return replace(story(1), evaluations=[], completed_at={}, notes=[], standard=None)


def compared() -> ReportContent:
    """Return the story of a finished search, its best network retrained and compared."""
    rows = [
        Row("network 49, retrained", 0.862, {"parameters": 151_000.0}, {"test_mean_iou": 0.85}),
        Row("U-Net, retrained", 0.843, {"parameters": 118_000.0}, {"test_mean_iou": 0.841}),
    ]
    return replace(story(), compared=rows, conclusion="On the test split the evolved network is ahead by 0.009.")


def wide() -> ReportContent:
    """Return the story of a search with long names: of its data, of its standard network and of its workers."""
    name = "ResNet, small, with bottlenecks"
    told = compared()
    assert told.problem is not None
    rows = [replace(told.compared[0], metrics={"test_mean_iou": 0.85, "test_mean_iou_error": 0.012})]
    rows.append(replace(told.compared[1], name=f"{name} (budget × 4)"))
    rows = [replace(row, costs={**STANDARD.costs, **row.costs}) for row in rows]
    data = "/scratch/projects/" + "_".join(f"beamtime{n}" for n in range(12)) + "/images.zarr"
    return replace(
        told, compared=rows, standard=replace(STANDARD, name=name), problem=replace(told.problem, data=data)
    )
