"""How far one scheduler goes: evaluations a second, idle gaps of many workers, memory over a long run.

    python -m benchmarks.scale rate --workers 8 --evaluations 4000
    python -m benchmarks.scale gap --workers 64 --rate 30 --evaluations 1800
    python -m benchmarks.scale memory --evaluations 50000

`rate` brings home instant evaluations through the real loop, with genetics, journal and Dask. `gap` keeps many workers
busy with evaluations that only sleep, so that all of them together bring home `--rate` a second, and says how long a
worker waits between two of them. Both do the same with LEAP's asynchronous steady state and with Optuna over Dask where
these are installed, see `beside.py`. `memory` is `search_overhead.py` over a long run.

Driver, scheduler and the processes that hold the workers share this machine, which a real site does not ask of it;
nothing here is seen on a GPU.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import dask
import numpy as np
from distributed import Client, Scheduler, Worker

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file too
from benchmarks import instant, search_overhead
from benchmarks.beside import OTHERS, Noted
from benchmarks.search_overhead import cpu_s
from benchmarks.sleeping import BEGAN, ENDED, Sleeping
from menndl_dask.cluster import load_cluster
from menndl_dask.dask_settings import DASK_SETTINGS
from menndl_dask.evolution import Evolution
from menndl_dask.port import LOOPBACK, raise_file_limit
from menndl_dask.profile import Scheduler as Profile
from menndl_dask.progress import Counts
from menndl_dask.search import Search
from menndl_dask.space import SearchSpace
from menndl_dask.store import Run

_WORKERS_A_PROCESS = 32
_WARM_UP = 0.2  # of the evaluations, which are left out
_START_S = 300
OURS = "menndl_dask"
_Spans = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one way to search.

    Parameters
    ----------
    rate
        Evaluations a second, without the first ones.
    cpu_ms
        Processor time of an evaluation: driver, scheduler, all workers together.
    gaps
        Seconds between the end of an evaluation and the begin of the next one on the same worker.
    """

    rate: float
    cpu_ms: tuple[float, float, float]
    gaps: np.ndarray = field(default_factory=lambda: np.array([]))


class Watch:
    """Reads the processor times at the begin and the end of a search, in the place of a progress display."""

    def __init__(self, client: Client, scheduler: int) -> None:
        self._groups = [(os.getpid(),), (scheduler,), tuple(set(client.run(os.getpid).values()))]
        self._begun = self._ended = self._read()

    def show(self, counts: Counts, now: float) -> None:
        """Show nothing."""

    def close(self, counts: Counts | None = None, now: float = 0.0) -> None:
        """Read for the last time."""
        self._ended = self._read()

    def spent_ms(self, evaluations: int) -> tuple[float, float, float]:
        """Return what an evaluation has taken in the driver, the scheduler and the workers."""
        driver, scheduler, workers = (
            1e3 * (end - begin) / evaluations for begin, end in zip(self._begun, self._ended, strict=True)
        )
        return driver, scheduler, workers

    def _read(self) -> list[float]:
        return [cpu_s(*group) for group in self._groups]


def ours(client: Client, scheduler: int, evaluations: int, search: Search) -> Measured:
    """Search, and return what was measured."""
    watch = Watch(client, scheduler)
    run = search.run(client, evaluations=evaluations, progress=watch)
    told = sorted(run.told_at.values())[int(_WARM_UP * evaluations) :]
    rate = (len(told) - 1) / max(told[-1] - told[0], 1e-3)
    return Measured(rate, watch.spent_ms(evaluations), _gaps(_spans(run)))


def others(
    client: Client, scheduler: int, evaluations: int, workers: int, seconds: float, folder: Path
) -> Iterator[tuple[str, Measured | str]]:
    """Yield what was measured of each of the others, or why it was not."""
    for number, (name, search) in enumerate(OTHERS.items()):
        evaluate = Noted(seconds, folder / f"other{number}")
        evaluate.folder.mkdir()
        watch = Watch(client, scheduler)
        try:
            search(client, evaluate, evaluations, workers)
        except ImportError as error:
            yield name, f"not installed here ({error})"
            continue
        watch.close()
        spans = evaluate.spans()
        ends = sorted(ended for each in spans.values() for _, ended in each)[int(_WARM_UP * evaluations) :]
        yield name, Measured((len(ends) - 1) / (ends[-1] - ends[0]), watch.spent_ms(evaluations), _gaps(spans))


def _spans(run: Run) -> _Spans:
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _, result in run.evaluations:
        if BEGAN in result.times:
            spans[result.worker].append((result.times[BEGAN], result.times[ENDED]))
    return spans


def _gaps(spans: _Spans) -> np.ndarray:
    begins = sorted(began for worker in spans.values() for began, _ in worker)
    if not begins:
        return np.array([])
    first = begins[int(_WARM_UP * len(begins))]
    ordered = [sorted(span for span in worker if span[0] >= first) for worker in spans.values()]
    return np.array([
        following[0] - ended for worker in ordered for (_, ended), following in pairwise(worker)
    ])  # fmt: skip


def rate(evaluations: int, workers: int, beside: int, *, screen: bool) -> dict[str, Measured | str]:
    """Measure instant evaluations."""
    problem = search_overhead.problem()
    space = SearchSpace.image(problem)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address, scheduler = stack.enter_context(search_overhead.scheduler_process(workers))
        client = stack.enter_context(_connected(address, workers))
        evolution = Evolution(space, seed=0, screen=screen)
        search = Search(problem, space, folder / "run", evolution=evolution, evaluate=instant.evaluate)
        measured: dict[str, Measured | str] = {OURS: ours(client, scheduler, evaluations, search)}
        if beside:
            measured |= others(client, scheduler, beside, workers, 0.0, folder)
    return measured


def gap(evaluations: int, workers: int, beside: int, a_second: float) -> dict[str, Measured | str]:
    """Measure the idle gaps of many workers."""
    problem = search_overhead.problem()
    seconds = workers / a_second
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address, scheduler = stack.enter_context(_process("scheduler"))
        for first in range(0, workers, _WORKERS_A_PROCESS):
            count = min(_WORKERS_A_PROCESS, workers - first)
            stack.enter_context(_process("workers", address, str(count)))
        client = stack.enter_context(_connected(address, workers))
        search = Search(problem, SearchSpace.image(problem), folder / "run", evaluate=Sleeping(seconds))
        measured: dict[str, Measured | str] = {OURS: ours(client, scheduler, evaluations, search)}
        if beside:
            measured |= others(client, scheduler, beside, workers, seconds, folder)
    return measured


@contextmanager
def _connected(address: str, workers: int) -> Iterator[Client]:
    with load_cluster(Profile(address=address)) as cluster, cluster.client() as client:
        client.wait_for_workers(workers, timeout=_START_S)
        yield client


@contextmanager
def _process(*role: str) -> Iterator[tuple[str, int]]:
    """Start this file in another process; yield the line that it says when it is ready, and its number."""
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


def table(measured: Mapping[str, Measured | str], *, has_gaps: bool) -> str:
    """Return what was measured as a table in Markdown, and below it what was not."""
    head = ["", "evaluations/s", "driver CPU ms", "scheduler CPU ms", "workers CPU ms"]
    head += ["gap p50 ms", "p90 ms", "p99 ms"] if has_gaps else []
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    missing = []
    for name, each in measured.items():
        if isinstance(each, str):
            missing.append(f"{name}: {each}")
            continue
        row = [name, f"{each.rate:.1f}", *(f"{spent:.2f}" for spent in each.cpu_ms)]
        if has_gaps:
            row += [f"{1e3 * float(np.percentile(each.gaps, share)):.0f}" for share in (50, 90, 99)]
        lines.append(row)
    return "\n".join([f"| {' | '.join(line)} |" for line in lines] + ([""] if missing else []) + missing)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table in Markdown."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["scheduler"], ["workers"]):
        with dask.config.set(DASK_SETTINGS):
            asyncio.run(_serve(*words))
        return
    if words[:1] == ["memory"]:
        search_overhead.main(["--evaluations", "50000", "--no-screen", *words[1:]])
        return
    options = _options(words)
    before, begun = os.getloadavg()[0], time.monotonic()
    measure: Callable[[int, int, int], dict[str, Measured | str]] = (
        partial(rate, screen=options.screen) if options.kind == "rate" else partial(gap, a_second=options.rate)
    )
    text = table(measure(options.evaluations, options.workers, options.beside), has_gaps=options.kind == "gap")
    load = f"load {before:.1f} before and {os.getloadavg()[0]:.1f} after {time.monotonic() - begun:.0f} s"
    where = f"Python {platform.python_version()}, {os.cpu_count()} cores, {load}"
    sys.stdout.write(f"{text}\n\n{options.workers} workers, {' '.join(words)}; {where}\n")


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    told = "evaluations of LEAP and of Optuna; 0: none"
    for kind, workers, evaluations in (("rate", 8, 4000), ("gap", 64, 1800)):
        one = kinds.add_parser(kind)
        one.add_argument("--workers", type=int, default=workers, metavar="N")
        one.add_argument("--evaluations", type=int, default=evaluations, metavar="N")
        one.add_argument("--beside", type=int, default=200, metavar="N", help=told)
    kinds.choices["rate"].add_argument("--screen", action="store_true", help="screen children, as a search does")
    kinds.choices["gap"].add_argument("--rate", type=float, default=30.0, metavar="R", help="evaluations a second")
    kinds.add_parser("memory", help="50,000 evaluations of search_overhead.py, which takes the options")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
