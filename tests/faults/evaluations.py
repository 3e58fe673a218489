"""Evaluations that say when they begin and end, and some that do harm; workers import them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    the clock changes. Or it trains, with the same lines.
    """

    marks: str
    seconds: float
    harm: str = ""
    harmed: frozenset[int] = field(default_factory=frozenset)
    trains: bool = False

    def __call__(self, individual: Individual, problem: Any, limits: Limits, **given: Any) -> Result:
        """Return the toy's result, or that of a real training."""
        began = time.monotonic()
        if self.trains:
            with marked(self.marks, individual.id):
                return evaluate(individual, problem, limits, **given)
        pretend(self.marks, individual.id, self.seconds, HARMS.get(self.harm) if individual.id in self.harmed else None)
        result = toy_result(individual).to_dict() | {"times": {"total": time.monotonic() - began}}
        return Result.from_dict(result)


def pretend(marks: str, number: int, seconds: float, harm: Callable[[], None] | None = None) -> None:
    """Sleep for so many seconds on average, with a line before and after."""
    with marked(marks, number):
        if harm is not None:
            harm()
        time.sleep(seconds * (0.5 + number * 0.37 % 1))


@contextmanager
def marked(marks: str, number: int) -> Iterator[None]:
    """Write a line before and after an evaluation."""
    mark(Path(marks), number, "began")
    yield
    mark(Path(marks), number, "ended")


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
