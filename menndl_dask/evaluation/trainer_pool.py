"""The trainers of a process: one for each training that it may run at a time. Runs on a worker, without Keras."""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from menndl_dask.data.staging import stage
from menndl_dask.environment import DEVICES, GPU_VARIABLES
from menndl_dask.errors import NodeError, TrainerError, shortened
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.evaluation.scratch import Scratch
from menndl_dask.evaluation.trainer import READY
from menndl_dask.problem import BACKENDS, Problem
from menndl_dask.result import Result
from menndl_dask.training.request import TrainingRequest

_LOG = logging.getLogger(__name__)
_START_S = 600.0  # to import Keras, maybe from a parallel file system that thousands of nodes read at once
_STARTS = 2  # attempts to start a trainer for an evaluation
_DEATHS = 3  # of the trainer in one evaluation; after that it is taken for the network's fault
_LONGEST = 1.4  # times its limit that all trainings of an evaluation may take: drivers give up after 1.5 times
_GRACE_S = 10.0  # beyond its time limit; after that the trainer itself must be hanging
_MODULE = "menndl_dask.evaluation.trainer"
_BACKEND = "KERAS_BACKEND"
_UNNAMED = "unnamed"  # scratch space of a problem without a fingerprint
_STAGING = threading.Lock()  # samples that one thread stages need not be staged by the others


class TrainerSlot:
    """A trainer and its staged samples, kept from one evaluation to the next.

    The trainer's environment is set in addition to that of its owner, the process of this number.
    """

    def __init__(self, owner: int, environment: Mapping[str, str]) -> None:
        self._owner = owner
        # numpy must start no threads there, which would make forking unsafe
        self._environment = {"OPENBLAS_NUM_THREADS": "1", **environment}
        self._trainer: ChildProcess | None = None
        self._scratch: dict[tuple[Path, str], Scratch] = {}
        atexit.register(self.close)

    def evaluate(self, request: TrainingRequest, problem: Problem, base: str | Path | None) -> Result:
        """Stage the samples, start the trainer if it does not run, and return the result of a request.

        The directories of the request are set here, below `base`, by default the directory for temporary files.

        Raises
        ------
        TrainerError
            If the trainer cannot be started, or dies.
        NodeError
            If the samples cannot be staged, or no process can be started.
        """
        began = time.monotonic()
        backend = problem.budget.backend or os.environ.get(_BACKEND, BACKENDS[0])
        if self._environment.get(_BACKEND) != backend:
            self._environment[_BACKEND] = backend
            self._close_trainer()
        trainer = self._living_trainer()  # imports Keras while the samples are staged
        place = Path(base or tempfile.gettempdir()).absolute(), problem.facts.fingerprint or _UNNAMED
        try:
            if place not in self._scratch:
                self._scratch[place] = Scratch.shared(place[1], place[0])
            scratch = self._scratch[place]
            with _STAGING:
                data = stage(problem, scratch.path)
        except NodeError as error:
            raise NodeError(f"{error} (local_directory in a cluster profile, else TMPDIR, says where)") from error
        staged = time.monotonic()
        trainer = self._ready(trainer)
        ready = time.monotonic()
        result = self._answer(trainer, replace(request, scratch=str(scratch.path), data=str(data)))
        before = {"start": ready - staged, "data": staged - began}
        return replace(result, times={**result.times, **{k: result.times.get(k, 0.0) + v for k, v in before.items()}})

    def close(self) -> None:
        """End the trainer and release the scratch space."""
        if self._owner != os.getpid():
            return  # in a process that was forked from the owner
        for scratch in self._scratch.values():
            scratch.release()  # the trainer, which releases it later, will remove it
        self._scratch.clear()
        self._close_trainer()

    def _answer(self, trainer: ChildProcess, request: TrainingRequest) -> Result:
        """Ask the trainer for the result of a request, and another trainer if it dies, which may be by chance."""
        limit = request.limits.seconds
        ends = time.monotonic() + _LONGEST * limit
        deaths: list[str] = []
        result: Result | None
        while True:
            seconds = min(limit, max(1.0, ends - time.monotonic()))
            within = replace(request, limits=replace(request.limits, seconds=seconds))
            try:
                result, trace = trainer.ask(within, seconds + _GRACE_S)
                break
            except TrainerError as error:
                request.remove_partial()  # the trainer could not
                if not isinstance(error.__cause__, EOFError):
                    raise
                deaths.append(str(error))
                if len(deaths) == _DEATHS or time.monotonic() > ends:
                    times = f"the trainer died {len(deaths)} times while it trained this network"
                    raise TrainerError(f"{times}, at last: {error}") from error.__cause__
                _LOG.warning("the trainer died while it trained a network, which is trained again: %s", error)
                trainer = self._ready(self._living_trainer())
        if result is None:
            raise NodeError(f"no process can be started for a training: {trace}")
        if trace:
            _LOG.info("the training failed:\n%s", trace)
        if deaths:
            times = f"{len(deaths)} of {_DEATHS} times"
            again = f"trained again, because the trainer died ({times}): {shortened(deaths[-1], 150)}"
            result = replace(result, message="; ".join(filter(None, (result.message, again))))
        return result

    def _close_trainer(self) -> None:
        if self._trainer is not None:
            self._trainer.close()
            self._trainer = None

    def _living_trainer(self) -> ChildProcess:
        if self._trainer is not None and not self._trainer.is_alive:
            _LOG.warning("the trainer had died and is started again")
            self._close_trainer()
        if self._trainer is None:
            try:
                self._trainer = ChildProcess(_MODULE, self._environment)
            except OSError as error:
                raise NodeError(f"no process can be started for a trainer: {error.strerror}") from error
        return self._trainer

    def _ready(self, trainer: ChildProcess) -> ChildProcess:
        """Return the trainer once it is ready, or another one if it died while it started."""
        for attempt in range(1, _STARTS + 1):
            try:
                _LOG.info("trainings run in a %s", trainer.ask(READY, _START_S))
            except TrainerError as error:
                if attempt == _STARTS:
                    # without the cause: no network has killed it
                    raise TrainerError(f"the trainer could not be started: {error}") from None
                trainer.kill()
                trainer = self._living_trainer()
            else:
                break
        return trainer


class TrainerPool:
    """The trainer slots of a process: one, or one for each GPU of a worker that has several."""

    def __init__(self, process: int) -> None:
        vendor, _, devices = os.environ.get(DEVICES, "").partition(":")
        environments = [{GPU_VARIABLES[vendor]: device} for device in devices.split(",")] if devices else [{}]
        self._process = process
        self._free = [TrainerSlot(process, environment) for environment in environments]
        self._count = len(self._free)
        self._change = threading.Condition()

    def grow(self, count: int) -> None:
        """Have at least so many slots, for trainings beside each other in this process."""
        with self._change:
            self._free += [TrainerSlot(self._process, {}) for _ in range(count - self._count)]
            self._count = max(self._count, count)

    @contextmanager
    def slot(self) -> Iterator[TrainerSlot]:
        """Reserve the slot that was used last; wait if all are in use."""
        with self._change:
            self._change.wait_for(lambda: self._free)
            slot = self._free.pop()
        try:
            yield slot
        finally:
            with self._change:
                self._free.append(slot)
                self._change.notify()

    def close(self) -> None:
        """Close all slots, once none is in use."""
        with self._change:
            self._change.wait_for(lambda: len(self._free) == self._count)
            for slot in self._free:
                slot.close()


@cache
def pool_of(process: int) -> TrainerPool:
    """Return the trainers of a process; a process forked from it has its own."""
    return TrainerPool(process)


def close() -> None:
    """End this process's trainers and release their scratch space; the next evaluation starts them again.

    It is called when the process ends.
    """
    pool_of(os.getpid()).close()
