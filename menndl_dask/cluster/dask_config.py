"""Settings of Dask for evaluations of minutes that return a few numbers. Runs on the driver and on workers.

They apply to this process and to the workers while a cluster runs. The user's configuration files are not changed.
"""

from __future__ import annotations

from typing import Any

DASK_SETTINGS: dict[str, Any] = {
    # one evaluation on a worker, further ones on the scheduler, so that none waits for a long one
    "distributed.scheduler.worker-saturation": 1.0,
    # a worker has one task, and no task depends on another: there is no work to steal
    "distributed.scheduler.work-stealing": False,
    # Dask counts a failure for each task on a worker that dies, also at the end of a batch job; only a network that
    # ends many workers is to fail (https://github.com/dask/distributed/issues/5234)
    "distributed.scheduler.allowed-failures": 10,
    # a worker on a busy node may be silent for long; at the default of 5 minutes it is restarted
    "distributed.scheduler.worker-ttl": "15 minutes",
    # each connection keeps its last messages: 0.1 MB and more for each worker at the default of 1000
    "distributed.admin.low-level-log-length": 100,
    # seconds after which a batch job without workers is replaced
    "distributed.deploy.lost-worker-timeout": "30s",
    # many workers that start at once all connect in the end
    # (https://github.com/dask/distributed/issues/3691)
    "distributed.comm.timeouts.connect": "120s",
    "distributed.comm.timeouts.tcp": "300s",
    # results are a few numbers; trainings use the memory of the trainer, which has its own limit
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # twice a second is enough to see a slow event loop; at the default of 20 ms the check takes 1.2 % of a core on an
    # idle worker
    "distributed.admin.tick.interval": "500ms",
    # memory and load of the processes
    "distributed.admin.system-monitor.interval": "5s",
    # the thread of an evaluation only waits for its trainer
    "distributed.worker.profile.enabled": False,
}
