"""The gene of a training: how a network is trained, for a search that evolves this too. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from menndl_dask.genome.domain import Integer, Real, choice, real
from menndl_dask.genome.gene import Gene


@dataclass(frozen=True, slots=True)
class Training(Gene):
    """How a network is trained. It is not a layer, and precedes the layers of a genome."""

    optimizer: str = choice("adam", "adamw", "sgd", "rmsprop")
    learning_rate: float = real(1e-5, 1e-1, log=True, default=1e-3, valid=Real(1e-12, 1e3))
    batch_size: int = choice(8, 16, 32, 64, 128, 256, default=32, valid=Integer(1, 65_536))
    weight_decay: float = choice(0.0, 1e-5, 1e-4, 1e-3, valid=Real(0.0, 1e3))
