"""How well the simulator agrees with real workers: the same search simulated, and run with evaluations that sleep.

    python -m benchmarks.simulated_workers --workers 64 --seconds 8 --rounds 8

The real search goes through the real loop, with screening, journal and Dask; driver, scheduler and the processes of the
workers share this machine. The simulator gets the times that the real evaluations slept. Just before, the real
evolution and the way to a worker are timed by the wall clock, because a busy machine makes them slower too. A row has
the share of the workers' time on evaluations from when all are busy until the last evaluation begins.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from distributed import Client

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file too
from benchmarks import search_overhead
from benchmarks.scale import started_workers
from benchmarks.sleeping import BEGAN, ENDED, Sleeping
from menndl_dask.performance.simulation.events import Events, Trace, account
from menndl_dask.performance.simulation.real_driver import measure
from menndl_dask.performance.simulation.scale import Evaluations, TimedDriver
from menndl_dask.run.run import Run
from menndl_dask.search.search import Search
from menndl_dask.space.space import SearchSpace

_TASKS = 40  # that do nothing, for the time to a worker and back
_SAMPLE = 120  # evaluations of the real evolution that are timed for the simulator


@dataclass(frozen=True, slots=True)
class Compared:
    """A search that was run and simulated."""

    real: Trace
    simulated: Trace
    load: float  # of the machine before

    @property
    def points(self) -> float:
        """Percentage points by which the simulated utilisation is higher."""
        return 100 * (self.simulated.utilisation - self.real.utilisation)


def compare(workers: int, seconds: float, rounds: int, spread: float, sample: int = _SAMPLE) -> Compared:
    """Run and simulate a search of `rounds` evaluations for each worker, of `seconds` on average."""
    load = os.getloadavg()[0]
    problem = search_overhead.problem()
    space = SearchSpace.image(problem)
    count = workers * rounds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        client, _ = stack.enter_context(started_workers(workers))
        hop_s = _there_and_back(client) / 2  # half of it goes by way of the driver
        wall = time.perf_counter
        times, _ = measure(space, lambda _: seconds, workers=min(workers, 32), evaluations=sample, clock=wall)
        run = Search(problem, space, folder / "run", evaluate=Sleeping(seconds, spread)).run(client, evaluations=count)
        results = sorted(run.evaluations, key=lambda evaluation: evaluation[0].id)  # as they were asked for
        slept = [result.times[ENDED] - result.times[BEGAN] for _, result in results]
        real = real_trace(run, workers)
    driver = TimedDriver(times, Evaluations(float(np.mean(slept))), first=slept)
    return Compared(real, Events(driver, workers, count, hop_s=hop_s).run(), load)


def _there_and_back(client: Client) -> float:
    """Return the mean seconds of a task that does nothing."""
    client.submit(int, pure=False).result()
    begun = time.perf_counter()
    for _ in range(_TASKS):
        client.submit(int, pure=False).result()
    return (time.perf_counter() - begun) / _TASKS


def real_trace(run: Run, workers: int) -> Trace:
    """Return what happened in a real search, as the simulator says it."""
    spans = sorted((result.times[BEGAN], result.times[ENDED]) for _, result in run.evaluations)
    first = spans[0][0]
    trace = Trace(workers, len(spans), all_busy_at=spans[workers - 1][0] - first)
    account(trace, [(begin - first, end - first) for begin, end in spans])
    return trace


def row(seconds: float, found: Compared) -> str:
    """Return a comparison as a row of a table in Markdown."""
    real, simulated = found.real, found.simulated
    cells = [
        f"{real.workers}", f"{seconds:g}", f"{real.evaluations:,}", f"{real.evaluations / real.span:.1f}",
        f"{real.utilisation:.1%}", f"{simulated.utilisation:.1%}", f"{found.points:+.1f}", f"{real.overall:.1%}",
        f"{simulated.overall:.1%}", f"{found.load:.1f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main(words: Sequence[str] | None = None) -> None:
    """Print the table for the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=64, metavar="N")
    parser.add_argument("--seconds", type=float, nargs="+", default=[16.0, 8.0], metavar="S", help="of an evaluation")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="evaluations for each worker")
    parser.add_argument("--spread", type=float, default=0.5, metavar="X", help="standard deviation ÷ mean")
    given = parser.parse_args(words)
    head = [
        "workers", "seconds each", "evaluations", "a second", "real", "simulated", "points", "whole run, real",
        "whole run, simulated", "load",
    ]  # fmt: skip
    sys.stdout.write("| " + " | ".join(head) + " |\n|" + " ---: |" * len(head) + "\n")
    for seconds in given.seconds:
        found = compare(given.workers, seconds, given.rounds, given.spread)
        sys.stdout.write(row(seconds, found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
