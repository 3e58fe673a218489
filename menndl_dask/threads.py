"""Threads of linear algebra: one is enough where matrices are small. Runs where evolution does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import local

from threadpoolctl import ThreadpoolController


class _Depth(local):
    inside = 0


_depth = _Depth()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep linear algebra to one thread; asked for within itself, it does nothing.

    Matrices are small here, and the other cores train networks: threads that wait for each other there cost a hundred
    times what they save. To tell the libraries takes as long as what is computed in between, so it is done once.
    """
    if _depth.inside:
        yield
        return
    _depth.inside += 1
    try:
        with _controller().limit(limits=1):
            yield
    finally:
        _depth.inside -= 1


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
