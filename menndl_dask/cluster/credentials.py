"""Credentials of one cluster: made when it starts, removed when it ends. Runs on the driver.

A process that can connect to a Dask scheduler can run programs as its user
(https://github.com/dask/distributed/issues/304). On a shared machine, each user can connect, unless both sides of a
connection must show a certificate.
"""

from __future__ import annotations

import glob
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
from distributed.security import Security

from menndl_dask.program.interruption import at_once

logger = logging.getLogger(__name__)

_ROLES = ("client", "scheduler", "worker")


@contextmanager
def temporary_credentials(directory: Path) -> Iterator[Security]:
    """Make a certificate and its key in a private folder of a shared one, for the time of a ``with`` statement."""
    with private_folder(directory, "credentials") as folder:
        made = Security.temporary()
        for part, text in (("ca_file", made.tls_ca_file), ("cert", made.tls_worker_cert), ("key", made.tls_worker_key)):
            path = folder / f"{part}.pem"
            path.touch(mode=0o600)
            path.write_text(text)
        roles = {f"tls_{role}_{part}": str(folder / f"{part}.pem") for role in _ROLES for part in ("cert", "key")}
        yield Security(require_encryption=True, tls_ca_file=str(folder / "ca_file.pem"), **roles)


@contextmanager
def private_folder(directory: Path, name: str) -> Iterator[Path]:
    """Make a folder that only this user can open, for the time of a ``with`` statement.

    Those of the same name that belong to drivers on this machine that were killed are removed.
    """
    beginning = f"{name}-{socket.gethostname()}-"
    for left in directory.glob(f"{glob.escape(beginning)}*-*"):
        number = left.name.split("-")[-2]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            logger.info("removing the folder of a driver that was killed: %s", left)
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{beginning}{os.getpid()}-", dir=directory))
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    try:
        with at_once(remove):
            yield folder
    finally:
        remove()
