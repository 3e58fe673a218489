"""A program whose workers wait; tests interrupt it at any moment."""

from __future__ import annotations

import sys
import time

from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.cluster.profile import Local
from menndl_dask.workflow import guarded


def main() -> int:
    """Start workers and wait for what they never return."""
    print("starting", flush=True)  # noqa: T201
    with load_cluster(Local(workers=2, dashboard_port=None)) as cluster, cluster.client() as client:
        waiting = client.map(time.sleep, [600, 600])
        print("working", flush=True)  # noqa: T201
        client.gather(waiting)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
