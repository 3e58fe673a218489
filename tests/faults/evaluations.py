"""Evaluations that say when they begin and end, and some that do harm; workers import them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menndl_dask.evaluation.evaluation import evaluate
from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits
from menndl_dask.result import Result
from tests.spaces import toy_result


@dataclass(frozen=True, slots=True)
class Marked:
    """Sleeps for about so many seconds, with a line in a file before and after, and does harm for some networks.

    The lines are ``SECONDS PROCESS ID began``; the seconds are those since the machine was started, which no step of
    the clock changes.
    """

    marks: str
    seconds: float
    harm: str = ""
    harmed: frozenset[int] = field(default_factory=frozenset)

    def __call__(self, individual: Individual, problem: Any, limits: Limits, **given: Any) -> Result:
        """Return the toy's result; with a problem, that of a real training."""
        self._mark(individual.id, "began")
        if individual.id in self.harmed:
            HARMS[self.harm]()
        began = time.monotonic()
        if problem is not None:
            try:
                return evaluate(individual, problem, limits, **given)
            finally:
                self._mark(individual.id, "ended")
        time.sleep(self.seconds * (0.5 + individual.id * 0.37 % 1))
        self._mark(individual.id, "ended")
        result = toy_result(individual).to_dict() | {"times": {"total": time.monotonic() - began}}
        return Result.from_dict(result)

    def _mark(self, number: int, what: str) -> None:
        mark(Path(self.marks), number, what)


def mark(marks: Path, number: int, what: str) -> None:
    """Append a line to a file in one write, so that lines of several processes do not mix."""
    file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, f"{time.monotonic():.3f} {os.getpid()} {number} {what}\n".encode())
    os.close(file)


def _kill() -> None:
    os._exit(1)


def _flood() -> None:
    for _ in range(200):
        sys.stderr.write("x" * 1023 + "\n")


def _fork() -> None:
    """Leave a process behind, in a session of its own, as a daemon does."""
    subprocess.Popen(["sleep", "600"], start_new_session=True)


def _hang() -> None:
    time.sleep(3600)


HARMS = {"kill": _kill, "flood": _flood, "fork": _fork, "hang": _hang}
