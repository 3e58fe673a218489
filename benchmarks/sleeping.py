"""An evaluation that sleeps and says when it began and ended; workers import it."""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from distributed import get_worker

from menndl_dask.genome.individual import Individual
from menndl_dask.problem import Limits
from menndl_dask.result import Result

BEGAN, ENDED = "began", "ended"  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Sleeping:
    """Sleeps for so many seconds on average, a fifth more or less; or log-normal times with a spread."""

    seconds: float
    spread: float | None = None

    def __call__(self, individual: Individual, problem: Any, limits: Limits, *, seed: int, **_: Any) -> Result:
        """Return a made-up result."""
        began = time.time()
        chance = zlib.crc32(individual.genome.key.encode()) / 2**32
        factor = 0.8 + 0.4 * chance
        if self.spread is not None:
            sigma = math.sqrt(math.log1p(self.spread**2))
            factor = math.exp(sigma * NormalDist().inv_cdf(min(max(chance, 1e-6), 1 - 1e-6)) - sigma**2 / 2)
        time.sleep(self.seconds * factor)
        worker = str(get_worker().name)
        return Result(chance, times={BEGAN: began, ENDED: time.time()}, worker=worker, seed=seed)
