"""A profile without a measurement, for tests of what shows it."""

from __future__ import annotations

from dataclasses import replace

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layers import Convolution, Pooling
from menndl_dask.performance.profile import BatchProfile, Profile, ProfiledLayer
from tests.problems import problem

_COST = cost_of(Genome((Convolution(8), Pooling())), problem())
_LAYERS = (
    ProfiledLayer("Convolution", "8 · 3 · relu", (16, 16, 8), 80, 40_960.0, 4.4, 1e-4),
    ProfiledLayer("Pooling", "2 · max · stride 2", (8, 8, 8), 0, 2048.0, 0.2, 3e-4),
    ProfiledLayer("Activation", "", (8, 8, 8), 0, 0.0, 0.0, 0.0),
)
PROFILE = Profile(
    _COST, "tensorflow on cpu", "float32", 50e9, 80e9, 10e9, 2e-4,
    (
        BatchProfile(1, 1e-3, 2.0**20, 4e-3, 2.0**22),
        BatchProfile(64, 2e-3, None, None, None, "ResourceExhaustedError: out of memory"),
    ),
    _LAYERS, 1, 0.02,
)  # fmt: skip
BUSY = replace(PROFILE, busy_share=0.6)
