"""Drivers of islands with evaluations that take next to no time: ``python -m tests.islanders RUN EVALUATIONS ISLAND``.

Without a number of an island: a process that looks after three of them.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.profile import Local
from menndl_dask.errors import ExitCode
from menndl_dask.problem import Limits
from menndl_dask.report.report import write_report
from menndl_dask.run.progress import ProgressLine
from menndl_dask.run.settings import frozen_settings
from menndl_dask.search.islands import supervisor
from menndl_dask.search.search import Search
from menndl_dask.workflow import guarded
from tests.evaluations import unhurried
from tests.spaces import SPACES

SPACE = SPACES["a sequence"]
ISLANDS = 3
HURRY = "hurry"  # file that the test writes in the run's directory


def drive(run: Path, evaluations: int, island: int) -> int:
    """Search on an island."""
    supervisor.is_supervised()
    search = Search(None, SPACE, run, evaluate=partial(unhurried, run / HURRY), island=island)
    with load_cluster(Local(workers=1, dashboard_port=None)) as cluster, cluster.client() as client:
        search.run(client, evaluations=evaluations)
    return 0 if search.stopped is None else ExitCode.STOPPED


def look_after(run: Path, evaluations: int) -> int:
    """Start the drivers of all islands, and wait for them."""
    words = [sys.executable, "-m", "tests.islanders", str(run), str(evaluations)]
    commands = {island: supervisor.Command([*words, str(island)]) for island in range(ISLANDS)}
    settings = frozen_settings(None, SPACE, 0, Limits(), {"command": "test"})
    stopped = supervisor.supervise(
        run, settings, commands, evaluations=evaluations, hours=None,
        progress=ProgressLine(sys.stderr), on_change=write_report,
    )  # fmt: skip
    return 0 if stopped is None else ExitCode.STOPPED


def main() -> int:
    """Be what the arguments say."""
    run, evaluations, *island = sys.argv[1:]
    if island:
        return drive(Path(run), int(evaluations), int(island[0]))
    return look_after(Path(run), int(evaluations))


if __name__ == "__main__":
    sys.exit(guarded(main))
