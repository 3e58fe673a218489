"""Settings of Dask for evaluations of minutes that return a few numbers. Runs on the driver and on workers.

They apply to this process and to the workers while a cluster runs. The user's configuration files are not changed. What
they say of schedulers, workers and connections applies to schedulers that the user has started, and not to clusters
that are started here: it could stop them, change them, or open them to others.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask

from menndl_dask import files
from menndl_dask.errors import shortened

logger = logging.getLogger(__name__)

DASK_SETTINGS: dict[str, Any] = {
    # one evaluation on a worker, further ones on the scheduler, so that none waits for a long one
    "distributed.scheduler.worker-saturation": 1.0,
    # a worker has one task, and no task depends on another: there is no work to steal
    "distributed.scheduler.work-stealing": False,
    # Dask would run what was on a worker that died at once on another worker; the driver is told instead, and repeats
    # it with care (menndl_dask/search/dispatcher.py)
    "distributed.scheduler.allowed-failures": 0,
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

_DIRECTORY = "temporary-directory"
_LIVE_TAB = "menndl_dask.cluster.live_tab"
# of the user's settings of `distributed`, those that a cluster of ours follows: where the dashboard is seen, and logs
_FOLLOWED = ("distributed.dashboard.link", "distributed.logging")
_NAMED = 4  # settings that a message names


def cluster_settings() -> dict[str, Any]:
    """Return the settings of a cluster of ours: Dask's defaults, `DASK_SETTINGS`, and few of the user's own."""
    settings: dict[str, Any] = {}
    dask.config.refresh(config=settings, paths=[], env={})
    dask.config.set(DASK_SETTINGS, config=settings)
    for key in _FOLLOWED:
        if (value := dask.config.get(key, None)) is not None:
            dask.config.set({key: value}, config=settings)
    http = settings["distributed"]["scheduler"]["http"]
    http["routes"] = [*http["routes"], _LIVE_TAB]
    return {"distributed": settings["distributed"], "scheduler-address": None, _DIRECTORY: _usable_directory()}


def tell_ignored_settings() -> None:
    """Log a line that names the user's settings of Dask that a cluster of ours does not follow, if there are any."""
    defaults: dict[str, Any] = {}
    dask.config.refresh(config=defaults, paths=[], env={})
    dask.config.set(DASK_SETTINGS, config=defaults)
    given = dask.config.collect().get("distributed")
    ignored = [
        f"{key} ({_place(key)})"
        for key, value in (_flat(given, "distributed") if isinstance(given, Mapping) else ())
        if not key.startswith(_FOLLOWED) and dask.config.get(key, None, config=defaults) != value
    ]
    if ignored:
        more = f" and {len(ignored) - _NAMED} more" if len(ignored) > _NAMED else ""
        named = ", ".join(ignored[:_NAMED])
        logger.warning("settings of Dask without effect on workers that are started here: %s%s", named, more)


def user_keywords(system: str) -> tuple[dict[str, Any], str]:
    """Return the keywords that the user's configuration of dask-jobqueue has for a batch system, and its file."""
    given: Any = dask.config.collect()
    for name in ("jobqueue", system):
        given = given.get(name) if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping):
        return {}, ""
    found = {str(name).replace("-", "_"): value for name, value in given.items() if value is not None}
    return found, _place(f"jobqueue.{system}")


def _usable_directory() -> str | None:
    """Return the user's temporary directory of Dask; None, with a message, if it cannot be written to here."""
    given = dask.config.get(_DIRECTORY, None)
    if given is None:
        return None
    path = Path(os.path.expandvars(str(given))).expanduser()
    if defect := files.make_folder(path):
        where = tempfile.gettempdir()
        logger.warning("Dask's %s (%s): %s; workers write to %s", _DIRECTORY, _place(_DIRECTORY), defect, where)
        return None
    return str(path)


def _place(key: str) -> str:
    """Return the file of the user's configuration that has a key, or the environment variable."""
    found = list(dask.config.paths_containing_key(key))
    return shortened(str(found[-1])) if found else f"DASK_{key.upper().replace('.', '__').replace('-', '_')}"


def _flat(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{before}.{name}")
        else:
            yield f"{before}.{name}", value
