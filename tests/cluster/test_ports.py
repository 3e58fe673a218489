"""Tests of `menndl_dask.cluster.ports`: a port that is in use is no trouble."""

from __future__ import annotations

import resource
import socket

from menndl_dask.cluster.ports import LOOPBACK, free_port, raise_file_limit


def test_the_first_free_port_is_taken_and_any_where_there_is_none() -> None:
    with socket.socket() as taken, socket.socket() as other:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        other.bind((LOOPBACK, 0))
        used, free = taken.getsockname()[1], other.getsockname()[1]
        other.close()
        assert free_port([used], LOOPBACK) == 0
        assert free_port([used, free], LOOPBACK) == free
    assert free_port([0], LOOPBACK) == 0


def test_as_many_files_as_may_be_can_be_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        raise_file_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
