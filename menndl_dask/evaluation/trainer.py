"""The trainer: imports Keras once and forks a process for each evaluation. Runs as a child of a worker.

A worker starts it as ``python -m menndl_dask.evaluation.trainer``. It touches no device and starts no thread, so
that it can be forked safely: a fork takes milliseconds, an import of Keras seconds. Everything that a
framework keeps, such as its memory, ends with the forked process. If forking is not safe, each evaluation gets a new
interpreter.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from menndl_dask.evaluation.channel import Channel, out_of_reach
from menndl_dask.evaluation.child_process import ChildProcess, connect_to_parent, die_with_parent, serve
from menndl_dask.evaluation.descendants import adopt_orphans, end_descendants, kill
from menndl_dask.evaluation.energy import Meter, find_counters
from menndl_dask.evaluation.last_output import LastOutput
from menndl_dask.evaluation.result_builder import ResultBuilder
from menndl_dask.evaluation.scratch import Scratch
from menndl_dask.evaluation.supervision import UNSENT, TrainingProcess, supervise
from menndl_dask.program.keras_import import import_frugally

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

        self._counters = find_counters()

    def answer(self, frame: Any) -> Any:
        """Answer a worker: `READY` by how trainings are started, a `TrainingRequest` by its result and traceback.

        Where no process can be started, the result is None, and the reason stands in place of the traceback.
        """
        if frame == READY:
            return "forked process" if self.forks else "fresh interpreter"
        request: TrainingRequest = frame
        if request.scratch not in self._scratch:
            # a worker that is killed cannot remove it
            self._scratch[request.scratch] = Scratch(Path(request.scratch))
        builder = ResultBuilder(request.seed)  # its clock starts: a fork of a process with Keras takes some time
        try:
            process: TrainingProcess = _Forked(request, self._parent) if self.forks else _start_fresh(request)
        except OSError as error:
            return None, error.strerror
        meter = Meter(self._counters)
        try:
            supervise(process, builder, request.limits, self._parent, meter)
        finally:
            if left := end_descendants():
                builder.update({"remark": f"processes that it started could not be ended: {left}"})
            request.remove_partial()
        builder.update({"costs": meter.costs()})
        return builder.result(), builder.trace

    def close(self, patience: float) -> None:
        """Release the scratch space, which the last process of a node removes; wait some seconds for the worker."""
        for scratch in self._scratch.values():
            scratch.release(patience)


class _Forked:
    """A training in a process forked from this one."""

    def __init__(self, request: TrainingRequest, parent: Channel) -> None:
        reading, writing = os.pipe()
        output, printing = os.pipe()
        trainer = os.getpid()
        try:
            self.pid = os.fork()
        except OSError:
            for end in (reading, writing, output, printing):
                os.close(end)
            raise
        if self.pid == 0:
            os.close(reading)
            os.close(output)
            for printed in (1, 2):
                os.dup2(printing, printed)
            os.close(printing)
            _train(request, trainer, Channel(writing=out_of_reach(writing)), parent)
        os.close(writing)
        os.close(printing)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(self.pid, self.pid)  # here and in the child, so that it is done whichever comes first
        self.channel, self.output = Channel(reading), LastOutput(output)

    def exit_status(self) -> int | None:
        """Return the exit status, the negative number of its signal, or None while it runs.

        The process is not reaped: its number stays taken, so that its process group can still be killed.
        """
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return -found.si_status if found.si_code in (os.CLD_KILLED, os.CLD_DUMPED) else found.si_status

    def last_stderr_line(self) -> str:
        """Return the last line of what it has printed, or an empty string."""
        self.output.finish()
        return self.output.last_line()

    def last_output(self) -> str:
        """Return the last part of what it has printed."""
        return self.output.text()

    def close(self) -> None:
        """Close its pipes and wait for the process, which has ended."""
        self.channel.close()
        self.output.close()
        kill([self.pid])  # it may have left its group
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
        _prepare()
        training = import_frugally(_TRAINING)
        status = UNSENT
        training.run(request, channel)
        status = 0
    except BaseException:  # noqa: BLE001 - it must not return into the trainer's code
        traceback.print_exc()
    finally:
        os._exit(status)


def _train_once() -> NoReturn:
    """Run one training, which the parent sends, in a new interpreter."""
    status = 1
    try:
        channel = connect_to_parent()
        die_with_parent(os.getppid(), signal.SIGKILL)  # a user's code may ignore the signal that a trainer gets
        _prepare()
        training = import_frugally(_TRAINING)
        request = channel.receive()
        status = UNSENT
        training.run(request, channel)
        status = 0
    except BaseException:  # noqa: BLE001 - threads of a user's code must not keep the process alive
        traceback.print_exc()
    finally:
        os._exit(status)  # TensorFlow's own clean-up takes seconds


def _prepare() -> None:
    """Prepare a training process for what a user's code may do to it."""
    faulthandler.enable(2, all_threads=False)  # a crash says where it was
    os.umask(os.umask(0o077) | 0o002)  # other users write to none of its files
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # they fill disks
    with contextlib.suppress(OSError):  # Linux only: if the memory ends, the system kills it before the worker
        Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Answer the worker until it ends."""
    adopt_orphans()
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
        end_descendants()  # if a signal came while that was done
        trainer.close(patience)
        os._exit(0)  # TensorFlow's own clean-up takes seconds, and a nanny does not wait long


def _leave(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(0)


if __name__ == "__main__":
    _train_once() if sys.argv[1:] == [_ONCE] else main()
