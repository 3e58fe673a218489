"""The trainer: imports Keras once and forks a process for each evaluation. Runs as a child of a worker.

A worker starts it as ``python -m menndl_dask.evaluation.trainer``. It touches no device and starts no thread, so
that it can be forked safely: a fork takes milliseconds, an import of Keras seconds. Everything that a
framework keeps, such as its memory, ends with the forked process. If forking is not safe, each evaluation gets a new
interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from menndl_dask.evaluation.child_process import Channel, ChildProcess, connect_to_parent, die_with_parent, serve
from menndl_dask.evaluation.keras_import import import_frugally
from menndl_dask.evaluation.result_builder import ResultBuilder
from menndl_dask.evaluation.scratch import Scratch
from menndl_dask.evaluation.supervision import TrainingProcess, supervise

if TYPE_CHECKING:
    from menndl_dask.training.request import TrainingRequest

READY = "ready"
FRESH = "MENNDL_FRESH_INTERPRETER"  # 1: each evaluation gets a new interpreter
_MODULE, _TRAINING = "menndl_dask.evaluation.trainer", "menndl_dask.training.training"
_ONCE = "--once"  # argument of a new interpreter: run one training
_FORKABLE = ("tensorflow",)  # importing JAX or PyTorch may start threads, which a forked process would lack
# seconds for the worker to release the scratch space: after it closed its pipe, and if it dies thread by thread
_PATIENCE, _LONG_PATIENCE = 2.0, 10.0


class Trainer:
    """Runs training requests of the worker `parent`, one after the other."""

    def __init__(self, parent: Channel) -> None:
        self._parent = parent
        self._scratch: dict[str, Scratch] = {}
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        is_forkable = sys.platform == "linux" and backend in _FORKABLE
        self.forks = is_forkable and os.environ.get(FRESH, "0") in ("", "0")
        if self.forks:
            import_frugally(_TRAINING)
            # a forked process would lack a thread that an import has started
            self.forks = len(list(Path("/proc/self/task").iterdir())) == 1
            gc.collect()
            gc.freeze()  # so that the collector does not write to pages that are shared with the forked processes

    def answer(self, frame: Any) -> Any:
        """Answer a worker: `READY` by how trainings are started, a `TrainingRequest` by its result and traceback."""
        if frame == READY:
            return "forked process" if self.forks else "fresh interpreter"
        request: TrainingRequest = frame
        if request.scratch not in self._scratch:
            # a worker that is killed cannot remove it
            self._scratch[request.scratch] = Scratch(Path(request.scratch))
        process: TrainingProcess = _Forked(request, self._parent) if self.forks else _start_fresh(request)
        builder = ResultBuilder(request.seed)
        try:
            supervise(process, builder, request.limits, self._parent)
        finally:
            for partial in (request.partial_path, request.partial_checkpoint):
                if partial is not None:
                    with contextlib.suppress(OSError):  # such as where its folder could not be made
                        partial.unlink()
        return builder.result(), builder.trace

    def close(self, patience: float) -> None:
        """Release the scratch space, which the last process of a node removes; wait some seconds for the worker."""
        for scratch in self._scratch.values():
            scratch.release(patience)


class _Forked:
    """A training in a process forked from this one."""

    def __init__(self, request: TrainingRequest, parent: Channel) -> None:
        reading, writing = os.pipe()
        trainer = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            _train(request, trainer, Channel(writing=writing), parent)
        os.close(writing)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(self.pid, self.pid)  # here and in the child, so that it is done whichever comes first
        self.channel = Channel(reading)

    def exit_status(self) -> int | None:
        """Return the exit status, the negative number of its signal, or None while it runs.

        The process is not reaped: its number stays taken, so that its process group can still be killed.
        """
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return -found.si_status if found.si_code in (os.CLD_KILLED, os.CLD_DUMPED) else found.si_status

    def last_stderr_line(self) -> str:
        """Return an empty string: its errors come as messages."""
        return ""

    def close(self) -> None:
        """Close its channel and wait for the process, which has ended."""
        self.channel.close()
        os.waitpid(self.pid, 0)


def _start_fresh(request: TrainingRequest) -> ChildProcess:
    """Start a training in a new interpreter."""
    child = ChildProcess(_MODULE, arguments=[_ONCE])
    with contextlib.suppress(BrokenPipeError):  # it ended at once, which `supervise` reports
        child.channel.send(request)
    return child


def _train(request: TrainingRequest, trainer: int, channel: Channel, parent: Channel) -> NoReturn:
    """Run a training in the forked process, and end the process without any clean-up."""
    status = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent(trainer, signal.SIGKILL)
        parent.close()
        import_frugally(_TRAINING).run(request, channel)
        status = 0
    except BaseException:  # noqa: BLE001 - it must not return into the trainer's code
        traceback.print_exc()
    finally:
        os._exit(status)


def _train_once() -> NoReturn:
    """Run one training, which the parent sends, in a new interpreter."""
    channel = connect_to_parent()
    import_frugally(_TRAINING).run(channel.receive(), channel)
    os._exit(0)  # TensorFlow's own clean-up takes seconds


def main() -> None:
    """Answer the worker until it ends."""
    channel = connect_to_parent()
    signal.signal(signal.SIGTERM, _leave)  # sent when the worker has died
    trainer = Trainer(channel)
    patience = _LONG_PATIENCE
    try:
        try:
            serve(channel, trainer.answer)
            patience = _PATIENCE
        finally:
            # when a worker dies, its pipe is closed first: the signal may arrive during the clean-up
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    finally:
        trainer.close(patience)
        os._exit(0)  # TensorFlow's own clean-up takes seconds, and a nanny does not wait long


def _leave(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


if __name__ == "__main__":
    _train_once() if sys.argv[1:] == [_ONCE] else main()
