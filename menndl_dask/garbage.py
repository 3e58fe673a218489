"""Garbage: a long-lived process does not search through its modules for it again and again. Runs on the driver.

Python's collector looks through all objects now and then. The hundred and fifty thousand of the modules that a driver
has imported took it 150 to 280 ms each time on a slow machine, and meanwhile no worker that was done got its next
evaluation: with 64 workers that alone made the slowest hundredth of all gaps.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def settled() -> Iterator[None]:
    """Take what is there by now for settled: the collector passes it over until this ends."""
    if gc.get_freeze_count():  # somebody else has done so, and will undo it
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
