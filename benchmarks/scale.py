"""How busy one scheduler keeps many workers: evaluations per second, and how long a worker is idle between two of them.

    python -m benchmarks.scale --workers 64 --rate 30 --evaluations 1800

The evaluations only sleep. They are so long that all workers together complete `--rate` of them per second, through the
real loop with screening, journal and Dask. Driver, scheduler and the processes that hold the workers share this
machine, unlike at a real site. Nothing here uses a GPU. `search_overhead.py` measures memory over a long run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import dask
import numpy as np
from distributed import Client, Scheduler, Worker

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file too
from benchmarks import search_overhead
from benchmarks.search_overhead import cpu_s
from benchmarks.sleeping import BEGAN, ENDED, Sleeping
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.dask_config import DASK_SETTINGS
from menndl_dask.cluster.ports import LOOPBACK, raise_file_limit
from menndl_dask.cluster.profile import Scheduler as Profile
from menndl_dask.run.progress import Counts
from menndl_dask.run.run import Run
from menndl_dask.search.search import Search
from menndl_dask.space.space import SearchSpace

_WORKERS_A_PROCESS = 32
_WARM_UP = 0.2  # share of the evaluations that are left out
_START_S = 300


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of a search.

    Parameters
    ----------
    rate
        Evaluations per second, without the first ones.
    cpu_ms
        Processor time per evaluation in milliseconds: driver, scheduler, all workers together.
    gaps
        Seconds between the end of an evaluation and the start of the next one on the same worker.
    """

    rate: float
    cpu_ms: tuple[float, float, float]
    gaps: np.ndarray


class Watch:
    """Reads the processor times at the start and the end of a search, in place of a progress display."""

    def __init__(self, client: Client, scheduler: int) -> None:
        self._groups = [(os.getpid(),), (scheduler,), tuple(set(client.run(os.getpid).values()))]
        self._begun = self._ended = self._read()

    def show(self, counts: Counts, now: float) -> None:
        """Show nothing."""

    def close(self, counts: Counts, now: float) -> None:
        """Read for the last time."""
        self._ended = self._read()

    def spent_ms(self, evaluations: int) -> tuple[float, float, float]:
        """Return the processor time per evaluation of the driver, the scheduler and the workers."""
        driver, scheduler, workers = (
            1e3 * (end - begin) / evaluations for begin, end in zip(self._begun, self._ended, strict=True)
        )
        return driver, scheduler, workers

    def _read(self) -> list[float]:
        return [cpu_s(*group) for group in self._groups]


def measure(evaluations: int, workers: int, rate: float) -> Measured:
    """Search with workers that sleep, and return the measurements."""
    problem = search_overhead.problem()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        client, scheduler = stack.enter_context(started_workers(workers))
        watch = Watch(client, scheduler)
        search = Search(problem, SearchSpace.image(problem), folder / "run", evaluate=Sleeping(workers / rate))
        run = search.run(client, evaluations=evaluations, progress=watch)
        told = sorted(run.told_at.values())[int(_WARM_UP * evaluations) :]
        reached = (len(told) - 1) / max(told[-1] - told[0], 1e-3)
        return Measured(reached, watch.spent_ms(evaluations), _gaps(run))


@contextmanager
def started_workers(workers: int) -> Iterator[tuple[Client, int]]:
    """Start a scheduler and workers in processes of their own; yield a client and the scheduler's process number."""
    with ExitStack() as stack:
        address, scheduler = stack.enter_context(_process("scheduler"))
        for first in range(0, workers, _WORKERS_A_PROCESS):
            count = min(_WORKERS_A_PROCESS, workers - first)
            stack.enter_context(_process("workers", address, str(count)))
        cluster = stack.enter_context(load_cluster(Profile(address=address)))
        client = stack.enter_context(cluster.client())
        client.wait_for_workers(workers, timeout=_START_S)
        yield client, scheduler


def _gaps(run: Run) -> np.ndarray:
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _, result in run.evaluations:
        spans[result.worker].append((result.times[BEGAN], result.times[ENDED]))
    begins = sorted(began for worker in spans.values() for began, _ in worker)
    first = begins[int(_WARM_UP * len(begins))]
    ordered = [sorted(span for span in worker if span[0] >= first) for worker in spans.values()]
    return np.array([
        following[0] - ended for worker in ordered for (_, ended), following in pairwise(worker)
    ])  # fmt: skip


@contextmanager
def _process(*role: str) -> Iterator[tuple[str, int]]:
    """Start this file in another process; yield the line that it prints when it is ready, and its process number."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale", *role],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**search_overhead.environment(), "DASK_LOGGING__DISTRIBUTED": "error"},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.stdin.close()


async def _serve(role: str, *words: str) -> None:
    """Be a scheduler, or some workers of one, until standard input is closed."""
    raise_file_limit()
    if role == "scheduler":
        server = await Scheduler(host=LOOPBACK, port=0, dashboard=False, dashboard_address=f"{LOOPBACK}:0")
        servers, ready = [server], server.address
    else:
        address, count = words
        names = [f"{os.getpid()}-{number}" for number in range(int(count))]
        servers = [Worker(address, nthreads=1, name=name, memory_limit=0, dashboard=False) for name in names]
        await asyncio.gather(*servers)
        ready = f"{count} workers"
    sys.stdout.write(ready + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.gather(*(server.close() for server in servers))


def table(measured: Measured) -> str:
    """Return the measurements as a table in Markdown."""
    head = ["evaluations/s", "driver CPU ms", "scheduler CPU ms", "workers CPU ms", "gap p50 ms", "p90 ms", "p99 ms"]
    row = [f"{measured.rate:.1f}", *(f"{spent:.2f}" for spent in measured.cpu_ms)]
    row += [f"{1e3 * float(np.percentile(measured.gaps, share)):.0f}" for share in (50, 90, 99)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---:"] * len(head), row))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table in Markdown."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["scheduler"], ["workers"]):
        with dask.config.set(DASK_SETTINGS):
            asyncio.run(_serve(*words))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=64, metavar="N")
    parser.add_argument("--evaluations", type=int, default=1800, metavar="N")
    parser.add_argument("--rate", type=float, default=30.0, metavar="R", help="evaluations per second")
    options = parser.parse_args(words)
    before, begun = os.getloadavg()[0], time.monotonic()
    text = table(measure(options.evaluations, options.workers, options.rate))
    load = f"load {before:.1f} before and {os.getloadavg()[0]:.1f} after {time.monotonic() - begun:.0f} s"
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {load}"
    sys.stdout.write(f"{text}\n\n{options.workers} workers, {options.rate:g} evaluations/s asked for; {where}\n")


if __name__ == "__main__":
    main()
