"""Threads of linear algebra: one is enough where matrices are small. Runs where evolution does."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Keep linear algebra to one thread.

    Matrices are small here, and the other cores train networks: threads that wait for each other there cost a hundred
    times what they save. To tell the libraries takes as long as one step of what is computed, so it is done for many.
    """
    return _controller().limit(limits=1)  # type: ignore[no-any-return]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
