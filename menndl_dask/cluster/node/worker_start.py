"""The start of one Dask worker, which sees its own GPU, for each task of a batch job. Runs on a worker.

The launcher of the site (srun, jsrun, mpiexec) starts this for each task::

    srun … python -m menndl_dask.cluster.node.worker_start tls://10.0.0.1:8786 --name menndl-0 --gpus 4 --vendor amd …

It starts itself once more in a process that it keeps running (`menndl_dask.cluster.node.task_keeper`). That one reads
the number of the task from the environment, restricts the visible GPUs before a library that uses GPUs is loaded, gives
the worker a unique name within its job, and becomes ``dask worker``. On sites without a launcher, ``--tasks`` starts so
many tasks on this node.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from menndl_dask import files
from menndl_dask.cluster.node.found_gpus import found_gpus
from menndl_dask.cluster.node.gpu import (
    assigned_gpu,
    gpu_share_variables,
    gpu_visibility_variables,
    usable_bytes,
    visible,
)
from menndl_dask.cluster.node.task_keeper import TaskKeeper
from menndl_dask.environment import DEVICES, GPU_VENDORS, JOB_END, JOB_START, MEMORY, RETIRE_AT
from menndl_dask.errors import ExitCode, MenndlError, NodeError

_LOG = logging.getLogger(__name__)

_MODULE = __spec__.name  # also where this is `__main__`

_OWN = "MENNDL_RANK"
_KEPT = "MENNDL_TASK"  # set for the process that becomes the worker
_RANKS = (
    _OWN, "SLURM_PROCID", "JSM_NAMESPACE_RANK", "PALS_RANKID", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK",
    "FLUX_TASK_RANK",
)  # fmt: skip
_LOCAL_RANKS = (
    _OWN, "SLURM_LOCALID", "JSM_NAMESPACE_LOCAL_RANK", "PALS_LOCAL_RANKID", "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID", "FLUX_TASK_LOCAL_ID",
)  # fmt: skip
# the scheduler does not accept thousands of connections at the same moment (https://github.com/dask/distributed/issues/2820)
_STARTS_PER_S = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Start tasks and keep them running, or in the process of such a task become a Dask worker."""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {_MODULE}: %(message)s")
    words = list(sys.argv[1:] if arguments is None else arguments)
    given, rest = _parser().parse_known_args(words)
    if _KEPT not in os.environ:
        ranks = [{_OWN: str(number)} for number in range(given.tasks)] if given.tasks > 1 else [{}]
        return TaskKeeper([sys.executable, "-m", _MODULE, *words], [{_KEPT: "1", **rank} for rank in ranks]).run()
    try:
        for name, value in task_environment(os.environ, given).items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if given.local_directory and (defect := files.make_folder(Path(given.local_directory))):
            raise NodeError(f"error: local_directory: {defect} on {socket.gethostname()}")
    except MenndlError as error:
        _LOG.error("%s", error)
        return ExitCode.USER_ERROR
    rank = _number(os.environ, _RANKS)
    gpus = ",".join(visible(os.environ, given.vendor, 0)) if given.vendor is not None else "none"
    _LOG.info("task %d of %s, GPUs %s", rank, given.name, gpus)
    time.sleep(rank / _STARTS_PER_S)
    directory = ["--local-directory", given.local_directory] if given.local_directory else []
    _become_worker([*rest, *directory, *_memory(given), "--name", f"{given.name}-{rank}"])
    return 0


def task_environment(environment: Mapping[str, str], given: argparse.Namespace) -> dict[str, str | None]:
    """Return the changes of a task's environment variables. The value is None for a variable to be removed."""
    changes: dict[str, str | None] = {}
    if given.vendor is not None:
        devices = visible(environment, given.vendor, given.gpus)
        if given.per_node:
            changes[DEVICES] = f"{given.vendor}:{','.join(devices * given.tasks_per_gpu)}"
        else:
            devices = [assigned_gpu(devices, _number(environment, _LOCAL_RANKS), given.tasks_per_gpu)]
        changes |= gpu_visibility_variables(given.vendor, devices)
    changes |= gpu_share_variables(given.tasks_per_gpu)
    if given.local_directory is not None:
        changes["TMPDIR"] = given.local_directory  # images are staged there too
    if given.walltime is not None:
        start = float(environment.get(JOB_START) or time.time())
        end = start + given.walltime
        changes |= {JOB_START: str(start), JOB_END: str(end), RETIRE_AT: str(end - given.retire)}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        # the nanny would set them to 1, also for the trainings
        changes.setdefault(name, environment.get(name, str(given.cores)))
    return changes


def _memory(given: argparse.Namespace) -> list[str]:
    """Return the option with which a worker declares the memory of its GPU, once only that is visible."""
    found = found_gpus(os.environ) if given.vendor is not None else None
    if found is None or found.vendor != given.vendor or found.least_bytes is None:
        return []
    return ["--resources", f"{MEMORY}={usable_bytes(found.least_bytes, given.tasks_per_gpu):.0f}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(_MODULE, allow_abbrev=False, add_help=False)
    parser.add_argument("--name", required=True)
    parser.add_argument("--tasks", type=int, default=1)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--vendor", choices=GPU_VENDORS)
    parser.add_argument("--per-node", action="store_true")
    parser.add_argument("--tasks-per-gpu", type=int, default=1)
    parser.add_argument("--local-directory")
    parser.add_argument("--walltime", type=float)
    parser.add_argument("--retire", type=float, default=0.0)
    return parser


def _become_worker(arguments: list[str]) -> None:
    import dask
    from distributed.cli.dask_worker import main as worker

    from menndl_dask.cluster.dask_config import cluster_settings

    dask.config.set(cluster_settings())  # the nanny passes them to its worker
    worker.main(args=arguments, prog_name="dask worker")


def _number(environment: Mapping[str, str], names: Sequence[str]) -> int:
    """Return the value of the first variable that is set; 0 if none is set, since there is then a single task."""
    return int(next((environment[name] for name in names if environment.get(name)), "0"))


if __name__ == "__main__":
    sys.exit(main())
