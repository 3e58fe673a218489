"""What the live page and the report cost a search with 30 evaluations a second: ``python -m benchmarks.live_page``.

Evaluations only wait, so the driver and the scheduler, which are one process here, have all of the work. Counted is the
processor time of this process: other programs on the machine do not change it much.
"""

from __future__ import annotations

import argparse
import io
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from menndl_dask import Limits, Result, Search, SearchSpace, load_cluster
from menndl_dask.cluster.profile import Local
from menndl_dask.evolution.random_search import RandomSearch
from menndl_dask.genome.layers import Convolution
from menndl_dask.report.report import write_report
from menndl_dask.run.progress import ProgressLine
from menndl_dask.run.run import Run
from menndl_dask.search.live.live import LivePage

RATE = 30.0  # evaluations per second
WORKERS = 2
SPACE = SearchSpace.slots([Convolution] * 6)


def waiting(individual: Any, problem: Any, limits: Limits, **_: Any) -> Result:
    """Wait, and return a result that depends on the genome."""
    time.sleep(WORKERS / RATE)
    return Result((int(individual.genome.key[:8], 16) % 1000) / 1000, costs={"parameters": 1e3}, times={"total": 0.06})


def reader(address: str, ended: threading.Event) -> None:
    """Ask for what an open page asks for."""
    version = None
    while not ended.wait(1.0):
        with urlopen(f"{address}/state", timeout=10) as answer:
            text = answer.read()
        if text != version:
            version = text
            with urlopen(f"{address}/report", timeout=10) as answer:
                answer.read()


def measured(seconds: float, *, has_page: bool, is_open: bool) -> tuple[float, float]:
    """Return the evaluations per second, and the share of a core that this process takes."""
    with (
        TemporaryDirectory() as folder, load_cluster(Local(workers=WORKERS, dashboard_port=0)) as cluster,
        cluster.client() as client,
    ):  # fmt: skip
        line = ProgressLine(io.StringIO())
        live = LivePage(client, Path(folder) / "run", line)
        evolution = RandomSearch(SPACE, 0, 1e9)
        search = Search(None, SPACE, Path(folder) / "run", evaluate=waiting, evolution=evolution)
        show: Callable[[Run], object] = lambda run: live.show_report(write_report(run, is_running=True))  # noqa: E731
        ended = threading.Event()
        page = threading.Thread(target=reader, args=(cluster.live, ended))
        if is_open:
            page.start()
        wall, cpu = time.monotonic(), time.process_time()
        search.run(
            client, evaluations=round(seconds * RATE), progress=live if has_page else line,
            on_change=show if has_page else None,
        )  # fmt: skip
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        ended.set()
        if is_open:
            page.join()
        return round(seconds * RATE) / wall, cpu / wall


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="length of each search")
    seconds = parser.parse_args().seconds
    measured(5.0, has_page=True, is_open=False)  # loads what is loaded once
    before = 0.0
    print("| what is shown | evaluations/s | processor ms of each | share of a core | more |\n|---|---|---|---|---|")
    for name, has_page, is_open in (("no page", 0, 0), ("live page and report", 1, 0), ("and a browser", 1, 1)):
        rate, share = measured(seconds, has_page=bool(has_page), is_open=bool(is_open))
        before = before or share
        figures = f"{rate:.1f} | {1000 * share / rate:.1f} | {100 * share:.1f} % | {100 * (share - before):+.1f} %"
        print(f"| {name} | {figures} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
