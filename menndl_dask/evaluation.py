"""The evaluation of an individual: its network trained within a budget and measured. Runs on a worker, without Keras.

Each process that evaluates keeps one trainer, a child process, which is started when it is first needed and again
whenever it has died. A worker that has several GPUs keeps one for each. Evaluations in more threads of one process wait
for each other.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from menndl_dask.child import Child, last_line
from menndl_dask.cost import cost_of
from menndl_dask.environment import DEVICES, GPU_VARIABLES
from menndl_dask.errors import DataError, InfeasibleError, MenndlError, NodeError, TrainerError
from menndl_dask.individual import Individual
from menndl_dask.problem import BACKENDS, Limits, Problem
from menndl_dask.result import Result
from menndl_dask.rung import Bar
from menndl_dask.scratch import Scratch
from menndl_dask.staging import stage
from menndl_dask.task import Task
from menndl_dask.trainer import READY

_LOG = logging.getLogger(__name__)
_START_S = 600.0  # for importing Keras, from a parallel file system that thousands of nodes read at once
_STARTS = 2  # attempts to start a trainer for an evaluation
_GRACE_S = 10.0  # beyond its time limit, after which the trainer itself must be hanging
_SEEDS = 2**31
_PRIME = 1_000_003
_MODULE = "menndl_dask.trainer"
_BACKEND = "KERAS_BACKEND"
_UNNAMED = "unnamed"  # scratch space of a problem that was made by hand
_STAGING = threading.Lock()  # what one thread stages the others need not
_KINDS: dict[type | None, str] = {TimeoutError: "timed_out", EOFError: "killed"}


def evaluate(
    individual: Individual,
    problem: Problem,
    limits: Limits = Limits(),
    *,
    seed: int | None = None,
    save: str | Path | None = None,
    save_above: float | None = None,
    test: bool = False,
    bars: Sequence[Bar] = (),
    checkpoint: str | Path | None = None,
    scratch: str | Path | None = None,
) -> Result:
    """Train and measure the network of an individual; never raises because of it.

    Parameters
    ----------
    individual
        Whose genome is evaluated.
    problem
        What it is evaluated on, and its training budget.
    limits
        Past which the training is killed.
    seed
        Of weights, dropout and the order of the samples; by default made of the problem's and the individual's number.
    save
        Path of a ``.keras`` file that is written when the fitness is above `save_above`, or always where that is not
        given. It loads with plain Keras.
    save_above
        See `save`.
    test
        Whether ``test_<metric>`` is added to the result's metrics, measured on the test split.
    bars
        What the network must have reached at rungs on the way, else it ends as hopeless; see `menndl_dask.rung`.
    checkpoint
        Path of a file on a file system that all workers see. A training that takes longer than ``limits.checkpoint_s``
        writes there where it stands, and one of the same network that was cut off goes on from there. Whoever has the
        result removes it.
    scratch
        Directory on a disk of the node where the samples are staged; by default that for temporary files.

    Returns
    -------
    Result
        A fitness on the validation split, or a failure.

    Raises
    ------
    NodeError
        If the samples cannot be read or staged here, which is no network's fault.
    """
    started = time.monotonic()
    seed = (problem.seed * _PRIME + individual.id) % _SEEDS if seed is None else seed
    try:
        cost_of(individual.genome, problem)  # what cannot be built costs no training
        homes = _homes_of(os.getpid())
        home = homes.take()
        try:
            task = _task(individual, problem, limits, seed, save, save_above, test, tuple(bars), checkpoint)
            result = home.evaluate(task, problem, scratch)
        finally:
            homes.put(home)
    except DataError as error:  # the driver could read them
        raise NodeError(f"the samples cannot be read: {error}") from error
    except NodeError as error:
        raise NodeError(f"{error} (local_directory in a cluster profile, else TMPDIR, says where)") from error
    except InfeasibleError as error:
        result = Result.failed("infeasible", str(error), seed=seed)
    except TrainerError as error:
        result = Result.failed(_KINDS.get(type(error.__cause__), "error"), str(error), seed=seed)
    except Exception as error:  # noqa: BLE001 - every outcome is a result
        _LOG.info("the evaluation failed", exc_info=True)
        result = Result.failed("error", str(error) if isinstance(error, MenndlError) else last_line(error), seed=seed)
    times = {**result.times, "total": time.monotonic() - started}
    return replace(result, times=times, worker=_whereabouts())


def close() -> None:
    """End this process's trainers and give up their scratch space; the next evaluation starts anew.

    It happens by itself when the process ends.
    """
    _homes_of(os.getpid()).close()


class _Home:
    """What a process keeps from one evaluation to the next: a trainer, and where its samples are staged.

    Parameters
    ----------
    owner
        Number of the process.
    environment
        Of the trainer, beside that of the process.
    """

    def __init__(self, owner: int, environment: Mapping[str, str]) -> None:
        self._owner = owner
        # numpy must start no threads there, which would make forking unsafe
        self._environment = {"OPENBLAS_NUM_THREADS": "1", **environment}
        self._trainer: Child | None = None
        self._scratch: dict[tuple[Path, str], Scratch] = {}
        atexit.register(self.close)

    def evaluate(self, task: Task, problem: Problem, base: str | Path | None) -> Result:
        """Have a task evaluated, once its samples are staged and the trainer is ready."""
        began = time.monotonic()
        self._use(problem.budget.backend or os.environ.get(_BACKEND, BACKENDS[0]))
        trainer = self._living_trainer()  # imports Keras while the samples are staged
        scratch = self._scratch_for(problem, Path(base or tempfile.gettempdir()).absolute())
        with _STAGING:
            data = stage(problem, scratch.path)
        staged = time.monotonic()
        trainer = self._ready(trainer)
        ready = time.monotonic()
        task = replace(task, scratch=str(scratch.path), data=str(data))
        result: Result
        result, trace = trainer.ask(task, task.limits.seconds + _GRACE_S)
        if trace:
            _LOG.info("the training failed:\n%s", trace)
        before = {"start": ready - staged, "data": staged - began}
        return replace(result, times={**result.times, **{k: result.times.get(k, 0.0) + v for k, v in before.items()}})

    def close(self) -> None:
        """End the trainer and give up the scratch space."""
        if self._owner != os.getpid():
            return  # in a process that was forked from the one that these belong to
        for scratch in self._scratch.values():
            scratch.release()  # the trainer, which is the last on the node to use it, will remove it
        self._scratch.clear()
        if self._trainer is not None:
            self._trainer.close()
            self._trainer = None

    def _use(self, backend: str) -> None:
        """Have the trainer use a backend of Keras, which it chooses when it starts."""
        if self._environment.get(_BACKEND) != backend:
            self._environment[_BACKEND] = backend
            if self._trainer is not None:
                self._trainer.close()
                self._trainer = None

    def _living_trainer(self) -> Child:
        if self._trainer is None or not self._trainer.is_alive:
            if self._trainer is not None:
                _LOG.warning("the trainer had died and is started again")
                self._trainer.close()
            self._trainer = Child(_MODULE, self._environment)
        return self._trainer

    def _ready(self, trainer: Child) -> Child:
        """Return the trainer once it is ready, or another one where it died while it started."""
        for attempt in range(1, _STARTS + 1):
            try:
                _LOG.info("trainings run in a %s", trainer.ask(READY, _START_S))
            except TrainerError as error:
                if attempt == _STARTS:
                    # nobody's network has done this
                    raise TrainerError(f"the trainer could not be started: {error}") from None
                trainer.kill()
                trainer = self._living_trainer()
            else:
                break
        return trainer

    def _scratch_for(self, problem: Problem, base: Path) -> Scratch:
        name = problem.facts.fingerprint or _UNNAMED
        if (base, name) not in self._scratch:
            self._scratch[base, name] = Scratch.shared(name, base)
        return self._scratch[base, name]


class _Homes:
    """All that a process keeps: a home for each training that it may do at once.

    Parameters
    ----------
    process
        Its number.
    """

    def __init__(self, process: int) -> None:
        vendor, _, devices = os.environ.get(DEVICES, "").partition(":")
        environments = [{GPU_VARIABLES[vendor]: device} for device in devices.split(",")] if devices else [{}]
        self._free = [_Home(process, environment) for environment in environments]
        self._count = len(self._free)
        self._change = threading.Condition()

    def take(self) -> _Home:
        """Take the home that was used last, or wait for one."""
        with self._change:
            self._change.wait_for(lambda: self._free)
            return self._free.pop()

    def put(self, home: _Home) -> None:
        """Give a home back."""
        with self._change:
            self._free.append(home)
            self._change.notify()

    def close(self) -> None:
        """Close all of them, once nobody evaluates."""
        with self._change:
            self._change.wait_for(lambda: len(self._free) == self._count)
            for home in self._free:
                home.close()


@cache
def _homes_of(process: int) -> _Homes:
    """Return what this process keeps; a process forked from it starts anew."""
    return _Homes(process)


def _task(
    individual: Individual,
    problem: Problem,
    limits: Limits,
    seed: int,
    save: str | Path | None,
    save_above: float | None,
    test: bool,
    bars: tuple[Bar, ...],
    checkpoint: str | Path | None,
) -> Task:
    target, behind = (None if path is None else _whole(path) for path in (save, checkpoint))
    return Task(
        individual.genome.to_dict(),
        problem.to_dict(),
        limits,
        seed,
        save=target,
        save_above=save_above,
        test=test,
        bars=bars,
        checkpoint=behind,
    )


def _whole(path: str | Path) -> str:
    return str(Path(path).absolute())


def _whereabouts() -> str:
    """Return the address of the Dask worker that this runs on, else the host and the process."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        with contextlib.suppress(ValueError):
            return str(distributed.get_worker().address)
    return f"{socket.gethostname()}:{os.getpid()}"
