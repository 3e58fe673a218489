"""Checkpoints: a training that was interrupted continues on another worker. Runs in the training process.

A worker may be lost in the middle of a training: its batch job ends, its node fails. The training is then resumed with
the same weights, optimiser state, order of the samples and random numbers.
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

from menndl_dask import files
from menndl_dask.environment import JOB_END
from menndl_dask.training.request import TrainingRequest, make_network_folder

_LOG = logging.getLogger(__name__)
_MARGIN_S = 30.0  # before the end of a batch job, for the last checkpoint
_SPARING = 50.0  # the time between two checkpoints is at least so many times the time to write one


@dataclass(frozen=True, slots=True)
class State:
    """The state of a training, without the values of its variables."""

    schedule: Mapping[str, float]  # its progress, from `TrainingSchedule.state`
    losses: Sequence[float]  # of the steps since the last validation
    curve: Sequence[Mapping[str, float]]  # measured so far, as the metrics
    metrics: Mapping[str, float]
    restarted: str = ""  # why the training was started again; empty if it was not
    flops_before: float = 0.0  # FLOPs of the training before that


class Checkpoint:
    """The checkpoint file of a training; one of another network, problem or seed is ignored.

    Attributes
    ----------
    due
        When the next checkpoint is to be written, on the monotonic clock: the other one may be set meanwhile.
    """

    def __init__(self, request: TrainingRequest) -> None:
        self._path = Path(request.checkpoint) if request.checkpoint is not None else None
        self._partial = request.partial_checkpoint
        interval = request.limits.checkpoint_s if self._path is not None else None
        self._interval = math.inf if interval is None else interval
        training = [request.genome, request.problem, request.seed, keras.backend.backend()]
        self._key = hashlib.sha256(json.dumps(training, sort_keys=True).encode()).hexdigest()
        job_end = float(os.environ.get(JOB_END) or math.inf) if interval is not None else math.inf
        self._last_moment = time.monotonic() + job_end - time.time() - _MARGIN_S
        self.due = math.inf

    def begin(self) -> None:
        """Start counting the interval: the training begins now."""
        self._schedule_next(self._interval)

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint is to be written now."""
        return time.monotonic() >= self.due

    def write(self, state: State, variables: Sequence[keras.Variable]) -> None:
        """Write a checkpoint; a reader sees either the last one or this one, complete."""
        if self._path is None or self._partial is None:
            return
        started = time.monotonic()
        values: dict[str, Any] = {}
        for number, variable in enumerate(variables):
            value = np.asarray(variable.numpy())
            # numpy's files know no bfloat16
            values[f"value{number}"] = value.astype("float32") if value.dtype.kind == "V" else value
        text = json.dumps({"key": self._key, **asdict(state)})
        try:
            make_network_folder(self._path.parent)
            self._partial.unlink(missing_ok=True)  # of a write that failed
            with os.fdopen(files.create(self._partial), "wb") as file:
                np.savez(file, told=np.array(text), **values)
                file.flush()
                os.fsync(file.fileno())
            self._partial.replace(self._path)
        except OSError as error:  # a full disk must not fail the network
            _LOG.warning("%s: no checkpoint could be written: %s", self._path, error.strerror)
        self._schedule_next(max(self._interval, _SPARING * (time.monotonic() - started)))

    def read(self) -> tuple[State, list[Any]] | None:
        """Return the state of the training and the values of its variables, or None if there is no checkpoint."""
        if self._path is None or not self._path.exists():
            return None
        try:
            with os.fdopen(files.open_regular(self._path), "rb") as opened, np.load(opened) as file:
                state = json.loads(str(file["told"]))
                values = [file[f"value{i}"] for i in range(len(file.files) - 1)]
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the training can start again
            _LOG.warning("%s: the checkpoint cannot be read, the training starts again", self._path, exc_info=True)
            return None
        if state.pop("key", None) != self._key:
            _LOG.info("%s: the checkpoint is of another training", self._path)
            return None
        return State(**state), values

    def _schedule_next(self, seconds: float) -> None:
        now = time.monotonic()
        self.due = now + seconds
        if now < self._last_moment < self.due:
            self.due = self._last_moment


def restore(variables: Sequence[keras.Variable], values: Sequence[Any]) -> bool:
    """Set variables to the values of a checkpoint; return False, and change none, if the shapes do not fit."""
    if [tuple(v.shape) for v in variables] != [np.shape(value) for value in values]:
        return False
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return True
