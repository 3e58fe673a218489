"""A worker that takes its time to close: loaded by ``dask worker --preload``, it says when that begins."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from distributed import Worker


async def dask_teardown(worker: Worker) -> None:
    """Leave a file, whose name is in the environment, and take a moment; `distributed` calls this on closing."""
    Path(os.environ["CLOSING"]).touch()
    await asyncio.sleep(2)
