"""The checkpoint of a training: from where it goes on when its process is gone. Runs in the training process.

A worker may be lost in the middle of a training: its batch job ends, its node fails, somebody needs the machine. What
the network has learnt by then lies beside the run, and whoever evaluates it next goes on from there, as if nothing had
happened: with the same weights, moments of the optimiser, order of the samples and chances of dropout.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from menndl_dask.environment import JOB_END
from menndl_dask.task import Task

_LOG = logging.getLogger(__name__)
_MARGIN_S = 30.0  # before the end of a batch job, for the last one
_SPARING = 50.0  # a checkpoint is not written more often than so many times the time that it takes


@dataclass(frozen=True, slots=True)
class State:
    """Where a training stands, beside the values of its variables.

    Parameters
    ----------
    course
        How far it is, as `Course.state` tells.
    losses
        Of the steps since the last look at the validation split.
    curve, metrics
        What was measured so far.
    again
        Why the training had begun anew, or nothing.
    flops_before
        Of the training before that.
    """

    course: Mapping[str, float]
    losses: Sequence[float]
    curve: Sequence[Mapping[str, float]]
    metrics: Mapping[str, float]
    again: str = ""
    flops_before: float = 0.0


class Checkpoint:
    """The checkpoint file of a task, and when it is to be written.

    Parameters
    ----------
    task
        Which says where, how often, and what training it is of: that of another network, problem or seed is passed
        over.
    """

    def __init__(self, task: Task) -> None:
        self._path = Path(task.checkpoint) if task.checkpoint is not None else None
        self._aside = task.checkpoint_aside(os.getpid())
        wanted = task.limits.checkpoint_s if self._path is not None else None
        self._every = math.inf if wanted is None else wanted
        training = [task.genome, task.problem, task.seed, keras.backend.backend()]
        self._key = hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()
        job_end = float(os.environ.get(JOB_END) or math.inf) if wanted is not None else math.inf
        self._last_moment = job_end - _MARGIN_S
        self.due = math.inf

    def begin(self) -> None:
        """Note that the training begins now."""
        self._wait(self._every)

    @property
    def is_due(self) -> bool:
        """Whether it is to be written now; `due` is when, in seconds since 1970."""
        return time.time() >= self.due

    def write(self, state: State, variables: Sequence[keras.Variable]) -> None:
        """Write where the training stands; whoever reads sees the last one or this one, whole."""
        if self._path is None or self._aside is None:
            return
        started = time.time()
        values = {f"value{i}": _plain(variable) for i, variable in enumerate(variables)}
        told = json.dumps({"key": self._key, **asdict(state)})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._aside.open("wb") as file:
                np.savez(file, told=np.array(told), **values)
                file.flush()
                os.fsync(file.fileno())
            self._aside.replace(self._path)
        except OSError as error:  # a full disk is no network's fault
            _LOG.warning("%s: no checkpoint could be written: %s", self._path, error.strerror)
        self._wait(max(self._every, _SPARING * (time.time() - started)))

    def read(self) -> tuple[State, list[Any]] | None:
        """Return where the training stood, and the values of its variables; nothing where there is no checkpoint."""
        if self._path is None or not self._path.exists():
            return None
        try:
            with self._path.open("rb") as opened, np.load(opened) as file:
                told = json.loads(str(file["told"]))
                values = [file[f"value{i}"] for i in range(len(file.files) - 1)]
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the training can begin anew
            _LOG.warning("%s: the checkpoint cannot be read, the training begins anew", self._path, exc_info=True)
            return None
        if told.pop("key", None) != self._key:
            _LOG.info("%s: the checkpoint is of another training", self._path)
            return None
        return State(**told), values

    def _wait(self, seconds: float) -> None:
        now = time.time()
        self.due = now + seconds
        if now < self._last_moment < self.due:
            self.due = self._last_moment


def _plain(variable: keras.Variable) -> Any:
    value = np.asarray(variable.numpy())
    return value.astype("float32") if value.dtype.kind == "V" else value  # numpy's files know no bfloat16


def restore(variables: Sequence[keras.Variable], values: Sequence[Any]) -> bool:
    """Give variables the values of a checkpoint; return whether they fit, else none is changed."""
    if [tuple(v.shape) for v in variables] != [np.shape(value) for value in values]:
        return False
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return True
