"""A driver for tests, as a program: a search with brief evaluations on the cluster of a profile."""

from __future__ import annotations

import sys

from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.errors import ExitCode
from menndl_dask.search.search import Search
from menndl_dask.workflow import guarded
from tests.evaluations import SPACE
from tests.site.evaluating import located


def drive(profile: str, run: str, evaluations: str) -> int:
    """Search until so many evaluations are home."""
    with load_cluster(profile) as cluster, cluster.client() as client:
        search = Search(None, SPACE, run, evaluate=located)
        search.run(client, evaluations=int(evaluations))
    return ExitCode.STOPPED if search.stopped else 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: drive(*sys.argv[1:])))
