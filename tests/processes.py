"""Processes in tests: waiting for their end, with a deadline."""

from __future__ import annotations

import time

import psutil


def gone(pid: int, seconds: float = 10.0) -> bool:
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
