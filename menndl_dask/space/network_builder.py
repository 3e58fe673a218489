"""A network that is built layer by layer. Pure."""

from __future__ import annotations

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.topology import Sources


class NetworkBuilder:
    """The layers of a network so far, and what each of them reads."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.sources: list[Sources] = []

    def add(self, layer: Layer, *sources: int) -> int:
        """Add a layer that reads `sources` (the last layer by default, ``-1 - v`` for view ``v``); return its index."""
        self.layers.append(layer)
        self.sources.append(sources or (len(self.layers) - 2,))
        return len(self.layers) - 1

    def genome(self) -> Genome:
        """Return the genome of the network."""
        return Genome.connect(self.layers, self.sources)
