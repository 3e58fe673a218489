"""A clock for Dask's connections that no step of the machine's clock moves. Runs on the driver.

Dask's streams of messages wait until a time of day (`distributed.batched`), and Tornado's periodic calls, too. Where
the clock of the machine is set back by an hour, they wait for that hour, and a search with them.
"""

from __future__ import annotations

import time
from typing import Any

from distributed import batched


def keep_time_steady() -> None:
    """Let the connections of this process wait by a clock that goes on evenly; it begins as the time of day."""
    loop: Any = batched.IOLoop  # type: ignore[attr-defined]  # Tornado's
    if getattr(loop.time, "__module__", "") == __name__:
        return
    ahead = time.time() - time.monotonic()

    def steady(*_: object) -> float:
        return time.monotonic() + ahead

    loop.time = steady
    batched.time = steady  # type: ignore[attr-defined]
