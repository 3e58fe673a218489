"""Tests of `menndl_dask.cluster.machine`: what a machine lacks is one line, before workers are started."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import socket

import pytest

from menndl_dask.cluster import machine
from menndl_dask.cluster.cluster import load_cluster
from menndl_dask.errors import ProfileError


def failing(number: int) -> object:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_this_machine_has_what_is_needed() -> None:
    machine.check_machine()


@pytest.mark.parametrize(
    ("what", "number"), [("create_server", errno.EADDRNOTAVAIL), ("create_connection", errno.ENETUNREACH)]
)
def test_a_machine_whose_processes_cannot_connect_is_one_line(
    what: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, what, failing(number))
    told = rf"connect to each other at 127\.0\.0\.1, got: {os.strerror(number)}; is the network interface lo up"
    with pytest.raises(ProfileError, match=told), load_cluster("local", workers=1):
        pass


def test_a_machine_without_semaphores_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.get_context("fork"), "Lock", failing(errno.EROFS))
    with pytest.raises(ProfileError, match="/dev/shm to take the semaphores of processes, got: Read-only file system"):
        machine.check_machine()


def test_a_machine_that_opens_too_few_files_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (20, 20))
    with pytest.raises(ProfileError, match="expected to be allowed to open 64 files, got 20; see ulimit -n"):
        machine.check_machine()
