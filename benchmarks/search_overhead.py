"""What the search itself costs: instant evaluations through the real loop, with genetics, journal and Dask.

    python -m benchmarks.search_overhead
    python benchmarks/search_overhead.py --evaluations 2000 --no-screen

For each quarter of the run it prints the resident memory of the driver and of the scheduler (which has a process of its
own here), the mean processor time of an ask, the processor time that driver, scheduler and workers spend on an
evaluation, and evaluations a second. Ratios are to the second quarter, since the first one fills caches. What must not
grow has ratios near 1. Processor times rather than wall times, because what others do on the machine changes them less.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import dask
import psutil
from distributed import LocalCluster

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file too
from benchmarks import instant
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.dask_config import DASK_SETTINGS
from menndl_dask.cluster.profile import Scheduler
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Budget, Facts, Problem
from menndl_dask.result import Result
from menndl_dask.run.progress import Counts
from menndl_dask.search.search import Search
from menndl_dask.space.space import SearchSpace

_PARTS = 4
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment of the run."""

    done: int
    seconds: float
    driver_bytes: int
    scheduler_bytes: int
    driver_cpu: float
    scheduler_cpu: float
    workers_cpu: float
    asks: int
    ask_seconds: float


class TimedEvolution:
    """Evolution with a stop watch at `ask`."""

    def __init__(self, evolution: Evolution) -> None:
        self._evolution = evolution
        self.tell, self.recall = evolution.tell, evolution.recall
        self.asks, self.ask_seconds = 0, 0.0

    def ask(self, n: int) -> list[Individual]:
        """Ask, and stop the time."""
        begun = time.thread_time()  # what others do on the machine does not count
        asked = self._evolution.ask(n)
        self.ask_seconds += time.thread_time() - begun
        self.asks += len(asked)
        return asked

    def best(self) -> tuple[Individual, Result]:
        """Return the best evaluation, as `Evolution.best` does."""
        return self._evolution.best()


class Meter:
    """Reads the counters at each quarter of the run, in the place of a progress display."""

    def __init__(
        self, evaluations: int, scheduler: int, workers: Sequence[int], evolution: TimedEvolution
    ) -> None:
        self._marks = [evaluations * part // _PARTS for part in range(_PARTS + 1)]
        self._driver, self._scheduler, self._workers = os.getpid(), scheduler, workers
        self._evolution = evolution
        self.readings: list[Reading] = []

    def show(self, counts: Counts, now: float) -> None:
        """Read the counters if a quarter is full."""
        while len(self.readings) <= _PARTS and counts.done >= self._marks[len(self.readings)]:
            cpu = [cpu_s(self._driver), cpu_s(self._scheduler), cpu_s(*self._workers)]
            memory = [psutil.Process(process).memory_info().rss for process in (self._driver, self._scheduler)]
            evolution = self._evolution
            self.readings.append(Reading(counts.done, now, *memory, *cpu, evolution.asks, evolution.ask_seconds))
            if sys.stderr.isatty():
                sys.stderr.write(f"{counts.done} evaluations\n")

    def close(self, counts: Counts, now: float) -> None:
        """Read them for the last time."""
        self.show(counts, now)


def cpu_s(*processes: int) -> float:
    """Return the processor time that processes have taken, in seconds."""
    return sum(sum(psutil.Process(process).cpu_times()[:2]) for process in processes)


def problem() -> Problem:
    """Return a problem with made-up facts; nothing is trained on it."""
    facts = Facts(((32, 32, 1),), 4, ("a", "b", "c", "d"), (100,) * 4, (400, 80, 80), ((0.0,),), ((1.0,),))
    return Problem("nowhere.zarr", "classification", facts, budget=Budget(epochs=8))


def environment() -> dict[str, str]:
    """Return variables with which other processes can import the benchmarks."""
    root = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


@contextmanager
def scheduler_process(workers: int) -> Iterator[tuple[str, int]]:
    """Start a scheduler with workers in another process; yield its address and its process."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.search_overhead", "--serve", str(workers)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.stdin.close()


def serve(workers: int) -> None:
    """Run a scheduler with workers until standard input is closed.

    It is Dask's own cluster: no other process can connect to a local cluster of a search.
    """
    with dask.config.set(DASK_SETTINGS), LocalCluster(workers, threads_per_worker=1, dashboard_address=None) as cluster:
        cluster.wait_for_workers(workers)
        sys.stdout.write(f"{cluster.scheduler_address}\n")
        sys.stdout.flush()
        sys.stdin.read()


def measure(evaluations: int, workers: int, folder: Path, *, screen: bool) -> list[Reading]:
    """Search, and return the readings at the start and the end of each quarter."""
    of = problem()
    space = SearchSpace.image(of)
    evolution = TimedEvolution(Evolution(space, seed=0, screen=screen))
    search = Search(of, space, folder / "run", evolution=evolution, evaluate=instant.evaluate)
    with (
        scheduler_process(workers) as (address, pid),
        load_cluster(Scheduler(address=address)) as cluster,
        cluster.client() as client,
    ):
        client.wait_for_workers(workers)
        meter = Meter(evaluations, pid, list(client.run(os.getpid).values()), evolution)
        run = search.run(client, evaluations=evaluations, progress=meter)
    home = [individual.id for individual, _ in run.evaluations]
    assert sorted(home) == list(range(evaluations)), "an evaluation was lost or done twice"
    return meter.readings


def rows(readings: list[Reading]) -> list[list[str]]:
    """Return a row for each quarter, with ratios to the second quarter."""
    parts = list(pairwise(readings))
    second = min(1, len(parts) - 1)

    def ask_ms(begin: Reading, end: Reading) -> float:
        return 1e3 * (end.ask_seconds - begin.ask_seconds) / max(1, end.asks - begin.asks)

    table = []
    for begin, end in parts:
        count = max(1, end.done - begin.done)
        reference = parts[second]
        table.append([
            f"{end.done:,}",
            f"{end.driver_bytes / _MIB:.0f} ({end.driver_bytes / reference[1].driver_bytes:.2f})",
            f"{end.scheduler_bytes / _MIB:.0f} ({end.scheduler_bytes / reference[1].scheduler_bytes:.2f})",
            f"{ask_ms(begin, end):.2f} ({ask_ms(begin, end) / ask_ms(*reference):.2f})",
            f"{1e3 * (end.driver_cpu - begin.driver_cpu) / count:.2f}",
            f"{1e3 * (end.scheduler_cpu - begin.scheduler_cpu) / count:.2f}",
            f"{1e3 * (end.workers_cpu - begin.workers_cpu) / count:.2f}",
            f"{count / (end.seconds - begin.seconds):.0f}",
        ])  # fmt: skip
    return table


def growth(readings: Sequence[Reading]) -> str:
    """Return in words by how much memory has grown after the first quarter, which fills caches."""
    begin, end = readings[1], readings[-1]
    count = max(1, end.done - begin.done)
    driver = (end.driver_bytes - begin.driver_bytes) / count / 1024
    scheduler = (end.scheduler_bytes - begin.scheduler_bytes) / count / 1024
    return f"after the first quarter, an evaluation: driver {driver:+.2f} kB, scheduler {scheduler:+.2f} kB"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=20_000, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    told = "screen children with the surrogate, as a search does by default"
    parser.add_argument("--screen", action=argparse.BooleanOptionalAction, default=True, help=told)
    parser.add_argument("--serve", type=int, metavar="WORKERS", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        readings = measure(options.evaluations, options.workers, Path(folder), screen=options.screen)
        journal = (Path(folder) / "run" / "journal.jsonl").stat().st_size
    head = ["evaluations", "driver MiB", "scheduler MiB", "ask CPU ms"]
    head += ["driver CPU ms", "scheduler CPU ms", "workers CPU ms", "evaluations/s"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows(readings)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    load = os.getloadavg()[2]
    screening = "on" if options.screen else "off"
    machine = f"{os.cpu_count()} cores, load {load:.1f} at the end, {options.workers} workers, screening {screening}"
    where = f"Python {platform.python_version()}, {machine}"
    size = f"journal {journal / options.evaluations:.0f} bytes an evaluation"
    sys.stdout.write(f"{text}\n\n{where}; {size}; {growth(readings)}\n")


if __name__ == "__main__":
    main()
