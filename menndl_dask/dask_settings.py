"""Settings of Dask for evaluations that take minutes and bring home a few numbers. Runs on the driver and on workers.

They are applied while a cluster runs, to this process and to the workers; the user's files stay as they are.
"""

from __future__ import annotations

from typing import Any

DASK_SETTINGS: dict[str, Any] = {
    # one evaluation on a worker, the spare ones on the scheduler: none waits behind a long one
    "distributed.scheduler.worker-saturation": 1.0,
    # there is one task on a worker and none depends on another: nothing to steal
    "distributed.scheduler.work-stealing": False,
    # every task on a worker that dies is blamed, also for a batch job's end; only a network that kills again and again
    # is to be given up (https://github.com/dask/distributed/issues/5234)
    "distributed.scheduler.allowed-failures": 10,
    # a worker on a busy node may be silent for long; at the default of 5 minutes it is restarted
    "distributed.scheduler.worker-ttl": "15 minutes",
    # each connection keeps its last messages, at the default of 1000 that is 0.1 MB and more a worker
    "distributed.admin.low-level-log-length": 100,
    # for how long a batch job that has vanished is waited for before it is replaced
    "distributed.deploy.lost-worker-timeout": "30s",
    # many workers that start at once get through in the end
    # (https://github.com/dask/distributed/issues/3691)
    "distributed.comm.timeouts.connect": "120s",
    "distributed.comm.timeouts.tcp": "300s",
    # results are a few numbers; the memory of a training is its trainer's, which has a limit of its own
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # whether an event loop is slow shows from a look twice a second too; at the default of 20 ms the looking takes
    # 1.2 % of a core on an idle worker
    "distributed.admin.tick.interval": "500ms",
    # memory and load of the processes, which nobody watches by the half second
    "distributed.admin.system-monitor.interval": "5s",
    # a profile of a thread that waits for its trainer says nothing
    "distributed.worker.profile.enabled": False,
}
