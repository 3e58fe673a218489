"""The first process of a task of a batch job: it starts the task again when that is killed. Runs on a worker.

A launcher does not start a task again, and some end all tasks of a job when one is killed. What a nanny does for its
worker, this does for the nanny, such as after the kernel has killed it for its memory. A worker that ends by itself is
not started again: it retires, it cannot work on this node, or its scheduler has gone.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_ATTEMPTS = 5  # kills in a row, each soon after its start, after which a task is not started again
_SHORT_S = 60.0
_END_S, _POLL_S = 5.0, 0.05
_FIRST_PAUSE_S = 1.0  # doubled for each kill in a row


class TaskKeeper:
    """Starts the tasks of a job on this node, and starts those again that are killed.

    Parameters
    ----------
    command
        Starts a task.
    environments
        Variables of each task, in addition to those of this process.
    """

    def __init__(self, command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> None:
        self._command = list(command)
        self._environments = environments
        self._ending = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._codes = [0] * len(environments)

    def run(self) -> int:
        """Run the tasks until all have ended, and return the largest exit code; to be called in the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._end)
        threads = [threading.Thread(target=self._keep, args=(number,)) for number in range(len(self._codes))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return max(self._codes)

    def _end(self, number: int, _: object) -> None:
        """Pass a signal on. The tasks are process groups of their own: it may have been sent to this process alone."""
        self._ending.set()
        for process in tuple(self._running):
            process.send_signal(number)

    def _keep(self, number: int) -> None:
        """Run a task, and run it again whenever it was killed."""
        kills = 0
        while not self._ending.is_set():
            started = time.monotonic()
            code = self._run(number)
            # a shell's code for the end by a signal, as for the launcher
            self._codes[number] = code if code >= 0 else 128 - code
            if code >= 0 or -code in SIGNALS or self._ending.is_set():
                return
            kills = kills + 1 if time.monotonic() - started < _SHORT_S else 1
            name = signal.Signals(-code).name
            if kills >= _ATTEMPTS:
                logger.error("task %d of this node was killed %d times in a row; it is given up", number, kills)
                return
            logger.warning("task %d of this node was killed by %s; it is started again", number, name)
            self._ending.wait(_FIRST_PAUSE_S * 2 ** (kills - 1))

    def _run(self, number: int) -> int:
        environment = {**os.environ, **self._environments[number]}
        process = subprocess.Popen(self._command, env=environment, process_group=0)
        self._running.add(process)
        if self._ending.is_set():  # the signal came before it could be passed on
            process.terminate()
        code = process.wait()
        self._running.discard(process)
        _end_group(process.pid)
        return code


def _end_group(leader: int) -> None:
    """End what a killed process leaves, which is its worker, and give it time to remove its files."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGTERM)
        for _ in range(round(_END_S / _POLL_S)):
            os.killpg(leader, 0)
            time.sleep(_POLL_S)
        os.killpg(leader, signal.SIGKILL)
