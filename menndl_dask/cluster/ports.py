"""Ports and open files of the process of the scheduler. Runs on the driver."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterable
from contextlib import suppress

LOOPBACK = "127.0.0.1"


def free_port(candidates: Iterable[int], host: str = "") -> int:
    """Return the first free port; 0 (any port) if none is free.

    Dask would also use any port if one is in use, but with a warning.
    """
    for port in candidates:
        with socket.socket() as trial, suppress(OSError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
            return port
    return 0


def raise_file_limit() -> None:
    """Raise the limit of open files to its maximum: each worker needs some, and the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
