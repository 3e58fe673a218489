"""How far one scheduler goes: evaluations a second, idle gaps of many workers, memory over a long run.

    python benchmarks/scale.py rate --evaluations 20000
    python benchmarks/scale.py gap --workers 64 --rate 30 --evaluations 1800

`rate` is `search_overhead.py`: instant evaluations through the real loop, with genetics, journal and Dask, for each
quarter of the run. `gap` keeps many workers busy with evaluations that only sleep, so that all of them together bring
home `--rate` a second, and says how long a worker waits between two of them. Driver, scheduler and the processes that
hold the workers share this machine, which a real site does not ask of it; nothing here is seen on a GPU.
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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import psutil
import search_overhead
from distributed import Scheduler, Worker
from sleeping import BEGAN, ENDED, Sleeping

from menndl_dask.cluster import load_cluster
from menndl_dask.dask_settings import DASK_SETTINGS
from menndl_dask.port import LOOPBACK, raise_file_limit
from menndl_dask.profile import Scheduler as Profile
from menndl_dask.search import Search
from menndl_dask.space import SearchSpace
from menndl_dask.store import Run

_WORKERS_A_PROCESS = 32
_WARM_UP = 0.2  # of the evaluations, which are left out
_START_S = 300


@dataclass(frozen=True, slots=True)
class Gaps:
    """What was measured with many workers.

    Parameters
    ----------
    seconds
        Between the end of an evaluation and the begin of the next one on the same worker.
    rate
        Evaluations a second.
    driver_ms, scheduler_ms
        Processor time of an evaluation.
    """

    seconds: np.ndarray
    rate: float
    driver_ms: float
    scheduler_ms: float


def measure(workers: int, rate: float, evaluations: int, folder: Path) -> Gaps:
    """Keep so many workers busy and return what was measured."""
    problem = search_overhead.problem()
    search = Search(problem, SearchSpace.image(problem), folder / "run", evaluate=Sleeping(workers / rate))
    with ExitStack() as stack:
        address, scheduler = stack.enter_context(_process("scheduler"))
        counts = [min(_WORKERS_A_PROCESS, workers - first) for first in range(0, workers, _WORKERS_A_PROCESS)]
        for count in counts:
            stack.enter_context(_process("workers", address, str(count)))
        cluster = stack.enter_context(load_cluster(Profile(address=address)))
        client = stack.enter_context(cluster.client())
        client.wait_for_workers(workers, timeout=_START_S)
        before = _cpu_s(scheduler), _cpu_s(os.getpid())
        run = search.run(client, evaluations=evaluations)
        after = _cpu_s(scheduler), _cpu_s(os.getpid())
    spent = [1e3 * (end - begin) / evaluations for begin, end in zip(before, after, strict=True)]
    return _gaps(run, evaluations, *spent)


def _gaps(run: Run, evaluations: int, scheduler_ms: float, driver_ms: float) -> Gaps:
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    ends = []
    for number, (_, result) in enumerate(run.evaluations):
        if number < _WARM_UP * evaluations or result.worker is None:
            continue
        spans[result.worker].append((result.times[BEGAN], result.times[ENDED]))
        ends.append(result.times[ENDED])
    gaps = [
        following[0] - ended
        for worker in spans.values()
        for (_, ended), following in zip(sorted(worker), sorted(worker)[1:], strict=False)
    ]
    return Gaps(np.array(gaps), len(ends) / (max(ends) - min(ends)), driver_ms, scheduler_ms)


@contextmanager
def _process(*role: str) -> Iterator[tuple[str, int]]:
    """Start this file in another process; yield the line that it says when it is ready, and its number."""
    path = os.pathsep.join([str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, __file__, *role],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path, "DASK_LOGGING__DISTRIBUTED": "error"},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.stdin.close()


async def _serve(role: str, *words: str) -> None:
    """Be a scheduler, or some workers of one, until nobody listens any more."""
    raise_file_limit()
    if role == "scheduler":
        server = await Scheduler(host=LOOPBACK, port=0, dashboard=False, dashboard_address=f"{LOOPBACK}:0")
        servers, said = [server], server.address
    else:
        address, count = words
        names = [f"{os.getpid()}-{number}" for number in range(int(count))]
        servers = [Worker(address, nthreads=1, name=name, memory_limit=0, dashboard=False) for name in names]
        await asyncio.gather(*servers)
        said = f"{count} workers"
    sys.stdout.write(said + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.gather(*(server.close() for server in servers))


def _cpu_s(process: int) -> float:
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


def _told(gaps: Gaps, workers: int) -> str:
    middle, most, nearly_all = (1e3 * float(np.percentile(gaps.seconds, share)) for share in (50, 90, 99))
    head = ["workers", "evaluations/s", "gap p50 ms", "p90 ms", "p99 ms", "scheduler CPU ms", "driver CPU ms"]
    row = [f"{workers}", f"{gaps.rate:.1f}", f"{middle:.0f}", f"{most:.0f}", f"{nearly_all:.0f}"]
    row += [f"{gaps.scheduler_ms:.1f}", f"{gaps.driver_ms:.1f}"]
    lines = [head, ["---:"] * len(head), row]
    load = os.getloadavg()[0]
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} at the end"
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{where}\n"


def main() -> None:
    """Measure and print a table in Markdown."""
    if sys.argv[1:2] in (["scheduler"], ["workers"]):
        with dask.config.set(DASK_SETTINGS):
            asyncio.run(_serve(*sys.argv[1:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("rate", help="see search_overhead.py, which takes the options", add_help=False)
    gap = kinds.add_parser("gap")
    gap.add_argument("--workers", type=int, default=64, metavar="N")
    gap.add_argument("--rate", type=float, default=30.0, metavar="R", help="evaluations a second")
    gap.add_argument("--evaluations", type=int, default=1800, metavar="N")
    options, rest = parser.parse_known_args()
    if options.kind == "rate":
        sys.argv[1:] = rest
        search_overhead.main()
        return
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        gaps = measure(options.workers, options.rate, options.evaluations, Path(folder))
    sys.stdout.write(_told(gaps, options.workers) + f"{time.monotonic() - begun:.0f} s in all\n")


if __name__ == "__main__":
    main()
