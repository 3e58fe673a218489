"""An evaluation that sleeps and says when it began and ended; workers import it."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Any

from distributed import get_worker

from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits
from menndl_dask.result import Result

BEGAN, ENDED = "began", "ended"  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Sleeping:
    """Sleeps for so many seconds on average, a fifth more or less."""

    seconds: float

    def __call__(self, individual: Individual, problem: Any, limits: Limits, *, seed: int, **_: Any) -> Result:
        """Return a made-up result."""
        began = time.time()
        chance = zlib.crc32(individual.genome.key.encode()) / 2**32
        time.sleep(self.seconds * (0.8 + 0.4 * chance))
        worker = str(get_worker().name)
        return Result(chance, times={BEGAN: began, ENDED: time.time()}, worker=worker, seed=seed)
