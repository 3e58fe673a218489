"""Processes in tests: waiting for their end, or for what they do, with a deadline."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import psutil


def gone(pid: int, seconds: float = 120.0) -> bool:
    """Return whether a process has ended, or does so in time; a zombie has."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            psutil.Process(pid).wait(0.05)
            return True
        except psutil.NoSuchProcess:
            return True
        except psutil.TimeoutExpired:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
    return False


def until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 300.0) -> None:
    """Wait until something is so, while a process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
