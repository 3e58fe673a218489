"""What predictions cost, measured alone in a child process."""

from __future__ import annotations

import sys

from menndl_dask.evaluation.inference import measure
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import Convolution, Pooling
from menndl_dask.problem import Limits
from tests.problems import problem


def test_latency_throughput_memory_and_other_load_are_measured() -> None:
    result = measure(Individual(0, Genome((Convolution(8), Pooling()))), problem())
    assert (result.failure, result.message) == (None, "")
    costs = result.costs
    assert costs["latency_ms"] > 0
    assert costs["samples_per_s"] > 1000 / costs["latency_ms"]  # batches are faster than one sample at a time
    assert 0 <= costs["busy_share"] <= 1
    if sys.platform == "linux":
        assert 0 <= costs["inference_bytes"] < 500e6


def test_a_measurement_that_takes_too_long_is_a_failure() -> None:
    result = measure(Individual(0, Genome((Convolution(8),))), problem(), Limits(seconds=0.01))
    assert result.failure == "error"
    assert "no answer in 0.01 s" in result.message
