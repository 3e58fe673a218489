"""What ``menndl simulate`` simulates: a sample, the whole search, and what more islands change. Runs on the driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from menndl_dask.errors import UserError
from menndl_dask.performance.simulation.real_driver import DriverTimes, measure
from menndl_dask.performance.simulation.scale import (
    JOINS_PER_S,
    MOST_CONNECTIONS,
    ROUNDS,
    Evaluations,
    Simulated,
    fitting_islands,
    most_workers,
    simulate,
)
from menndl_dask.problem import Facts, Problem
from menndl_dask.run.run import Run
from menndl_dask.space.space import SearchSpace
from menndl_dask.text import TextTable, duration

_ISLANDS, _WORKERS = 2, 64  # of the sample: islands, and workers of each
_LIMITS = ("max_parameters", "max_flops", "max_memory_bytes")


@dataclass(frozen=True, slots=True)
class Simulation:
    """A search on many workers, simulated with several numbers of islands.

    Parameters
    ----------
    evaluations
        How long evaluations take.
    times
        What the real drivers of the sample took.
    rows
        The search with each number of islands.
    per_worker
        Evaluations at a time on a Dask worker, of each row.
    driver_workers
        Workers that one driver keeps busy at most.
    """

    evaluations: Evaluations
    times: DriverTimes
    rows: Sequence[Simulated]
    per_worker: Sequence[int]
    driver_workers: int

    def table(self) -> TextTable:
        """Return the rows as a table."""
        head = [
            "islands", "connections each", "all busy after", "utilisation", "whole run", "time", "driver", "scheduler",
            "limit",
        ]  # fmt: skip
        rows = []
        for each, per_worker in zip(self.rows, self.per_worker, strict=True):
            trace = each.trace
            rows.append([
                f"{each.islands}", f"{each.connections:,}{f' (× {per_worker})' if per_worker > 1 else ''}",
                duration(trace.all_busy_at), f"{trace.utilisation:.2%}", f"{trace.overall:.1%}", duration(trace.span),
                f"{trace.driver_load:.0%}", f"{each.scheduler_load:.0%}", "; ".join(each.limits) or "none",
            ])  # fmt: skip
        first = self.rows[0]
        what = f"{first.evaluations:,} evaluations on {first.workers:,} workers"
        title = f"simulated: {what}, {_how_long(self.evaluations)}"
        return TextTable(head, rows, (0, 8), title)

    def words(self) -> str:
        """Say what was simulated, what was measured for it, and where it saturates."""
        times, ask = self.times, self.times.ask
        return (
            f"Simulated: one island of each row, {ROUNDS} evaluations of each worker one by one; the others are alike, "
            "and a longer search goes on as in its middle.\n"
            f"Measured here: the real evolution on {times.evaluations:,} evaluations of {_ISLANDS} islands: an ask "
            f"{1e3 * ask[1]:.0f} ms for a network, {1e3 * ask[16]:.0f} ms each for 16 together, "
            f"{1e3 * times.random:.1f} ms for a random one; to read the status of another island "
            f"{1e3 * times.read:.1f} ms.\n"
            "Measured elsewhere: journal, scheduler and heartbeats (benchmarks/scale.md).\n"
            f"Assumed: {JOINS_PER_S:.0f} workers join a scheduler in a second, at most {MOST_CONNECTIONS:,} "
            "connections.\n"
            f"One driver is saturated at about {self.driver_workers:,} workers.\n"
            "utilisation: from when all workers are busy until the last evaluation begins. whole run: with the start, "
            "and the end, when workers wait for the last results. driver, scheduler: share of a core, of one island."
        )


def simulate_search(
    workers: int, count: int, evaluations: Evaluations, *, islands: Sequence[int] = (), per_node: int = 1,
    sample: int = 600, run: Run | None = None, seed: int = 0,
) -> Simulation:  # fmt: skip
    """Simulate a search of `count` evaluations on `workers`.

    Parameters
    ----------
    workers, count
        Evaluations at a time, and in all.
    evaluations
        How long they take.
    islands
        Numbers of islands to compare; by default one, and as many as neither driver nor scheduler are saturated with.
    per_node
        GPUs of a node: where it has several, ``workers: per_node`` is simulated too.
    sample
        Evaluations of the real evolution whose times are measured, over all islands of the sample.
    run
        Whose search space the evolution has; by default one of micrographs.
    seed
        Of everything random.
    """
    times, _ = measure(
        space_of(run), lambda rng: float(evaluations.draw(rng, 1)[0]),
        workers=min(_WORKERS, max(1, workers // _ISLANDS)), evaluations=max(1, sample // _ISLANDS), count=_ISLANDS,
        seed=seed,
    )  # fmt: skip
    driver_workers = most_workers(times, evaluations)
    rows: list[Simulated] = []
    each: list[int] = []
    for per_worker in sorted({1, per_node}):
        wanted = islands or sorted({1, fitting_islands(workers, per_worker, driver_workers)})
        for number in wanted:
            rows.append(
                simulate(
                    times, evaluations, workers=workers, count=count, islands=number, per_worker=per_worker, seed=seed
                )
            )
            each.append(per_worker)
    return Simulation(evaluations, times, rows, each, driver_workers)


def evaluations_of(runs: Sequence[Run]) -> Evaluations:
    """Return the times of the evaluations of some runs; raises `UserError` if they have none."""
    known = [
        result.times["total"] for run in runs for _, result in run.evaluations if result.times.get("total", 0.0) > 0
    ]
    if not known:
        names = ", ".join(str(run.path) for run in runs)
        raise UserError(f"--from {names}: expected evaluations with times, got none")
    return Evaluations(float(np.mean(known)), float(np.std(known) / np.mean(known)), known=tuple(known))


def space_of(run: Run | None) -> SearchSpace:
    """Return the search space of a run, or one of micrographs of 64 × 64 pixels."""
    problem = None if run is None else run.problem
    if run is None or problem is None:
        facts = Facts(((64, 64, 1),), 4, tuple("abcd"), (1000,) * 4, (400, 80, 80), ((0.0,),), ((1.0,),))
        return SearchSpace.image(Problem("nowhere.zarr", "segmentation", facts))
    limits = {name: value for name, value in run.space_rules.items() if name in _LIMITS and value}
    return SearchSpace.image(problem, **limits)


def _how_long(evaluations: Evaluations) -> str:
    if evaluations.known:
        return f"as long as {len(evaluations.known):,} evaluations of a run, {duration(evaluations.mean_s)} on average"
    ended = "" if evaluations.limit_s == float("inf") else f", ended after {duration(evaluations.limit_s)}"
    return f"of {duration(evaluations.mean_s)} on average, log-normal, spread {evaluations.spread:g}{ended}"
