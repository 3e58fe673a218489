"""A worker that takes its time to start, as on a busy machine: loaded by ``DASK_DISTRIBUTED__WORKER__PRELOAD``."""

from __future__ import annotations

import os
import time

from distributed import Worker


def dask_setup(worker: Worker) -> None:
    """Take so many seconds as the environment says."""
    time.sleep(float(os.environ["FAULTS_START_S"]))
