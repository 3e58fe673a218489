"""A driver, as a user's script would be: ``python -m tests.faults.driver RUN JSON``; it ends as `menndl` does.

The JSON object has ``evaluations``, ``marks``, ``seconds``, and if wanted ``workers`` or ``scheduler_file``, ``harm``,
``harmed``, ``limit_s``, ``lost_worker_s``, ``answer_s``, ``data``, on which networks are trained then, ``images``, to
search among networks for images without training them, and ``clock``: a file with seconds that are added to this
process's clock.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

_true_time = time.time


def _step_the_clock(file: str) -> None:
    """Read the steps of the clock from a file, each time that the time is asked for."""

    def stepped() -> float:
        with contextlib.suppress(OSError, ValueError):
            return _true_time() + float(Path(file).read_text())
        return _true_time()

    time.time = stepped


def main(run: str, given: dict[str, Any]) -> int:
    """Search to the end."""
    from menndl_dask.cluster.cluster import load_cluster
    from menndl_dask.cluster.dask_config import DASK_SETTINGS
    from menndl_dask.cluster.profile import Local, Scheduler
    from menndl_dask.data.data import open_problem
    from menndl_dask.errors import ExitCode
    from menndl_dask.problem import Budget, Limits
    from menndl_dask.search.search import Search
    from menndl_dask.space.space import SearchSpace
    from tests.evaluations import SPACE
    from tests.faults.evaluations import Marked
    from tests.problems import problem as made_up

    if "lost_worker_s" in given:
        DASK_SETTINGS["distributed.deploy.lost-worker-timeout"] = f"{given['lost_worker_s']}s"
    if "scheduler_file" in given:
        profile: Local | Scheduler = Scheduler(
            scheduler_file=given["scheduler_file"], timeout_s=given.get("answer_s", 60.0)
        )
    else:
        profile = Local(workers=given.get("workers", 2), dashboard_port=None)
    harmed = frozenset(given.get("harmed", ()))
    evaluate = Marked(given["marks"], given["seconds"], given.get("harm", ""), harmed, "data" in given)
    problem, space = None, SPACE
    if "data" in given:
        problem = open_problem(given["data"], budget=Budget(epochs=2))
        space = SearchSpace.image(problem, maximum=6)
    elif given.get("images"):
        problem = made_up()
        space = SearchSpace.image(problem)
    limits = Limits(seconds=given.get("limit_s", 3600.0))
    with load_cluster(profile) as cluster, cluster.client() as client:
        search = Search(problem, space, run, evaluate=evaluate, limits=limits)
        search.run(client, evaluations=given["evaluations"])
        return ExitCode.SUCCESS if search.stopped is None else ExitCode.STOPPED


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    if "clock" in options:
        _step_the_clock(options["clock"])  # before Dask takes the function
    from menndl_dask.workflow import guarded

    status = guarded(lambda: main(sys.argv[1], options))
    sys.stdout.flush()
    sys.exit(status)
