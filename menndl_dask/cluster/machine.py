"""What a machine must offer to processes that work together, tried before workers are started. Runs on the driver.

Where it does not, Dask would try again and again, or tell the reason of its own failure only.
"""

from __future__ import annotations

import multiprocessing
import resource
import socket

from menndl_dask.cluster.ports import LOOPBACK
from menndl_dask.errors import ProfileError

_FILES = 64  # of a scheduler and one worker; no start succeeds with 20
_TRIAL_S = 30.0  # a connection within a machine takes less than a millisecond


def check_machine() -> None:
    """Check that processes of this machine can connect to each other, share semaphores and open enough files.

    Raises
    ------
    ProfileError
        If they cannot, as in a container without the network interface ``lo``, with IPv6 only or without ``/dev/shm``.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= files < _FILES:
        raise ProfileError(f"local: expected to be allowed to open {_FILES} files, got {files}; see ulimit -n")
    try:
        with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname(), _TRIAL_S):
            pass
    except OSError as error:
        wanted = f"expected processes of this machine to connect to each other at {LOOPBACK}"
        wrong = error.strerror or "no answer"
        raise ProfileError(f"local: {wanted}, got: {wrong}; is the network interface lo up? (ip address)") from error
    try:
        multiprocessing.get_context("fork").Lock()  # of this kind, since it is gone again at once
    except OSError as error:
        wanted = "expected /dev/shm to take the semaphores of processes"
        raise ProfileError(f"local: {wanted}, got: {error.strerror}") from error
