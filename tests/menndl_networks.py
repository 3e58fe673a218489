"""Networks that MENNDL published, as genomes: what their authors' files say, for images of the sizes that they had.

Sources: the Caffe files of github.com/jhamer90811/MINERvA_NOvA_network_analysis, and `make_menndl_633167` of the
MINERvA collaboration's TensorFlow code. A pooling of one pixel, with which a slot was switched off, is left in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from menndl_dask.genome.genome import Genome
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import (
    Activation,
    Convolution,
    Dropout,
    Flatten,
    FullyConnected,
    LocalResponseNormalisation,
    Pooling,
)
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from tests.problems import problem

_HALVED = Pooling((2, 1), (2, 1), padding="valid")
_OFF = Pooling((1,), (1,))

MINERVA = problem(shapes=((127, 94, 2), (127, 47, 2), (127, 47, 2)), outputs=173)
NOVA = problem(shapes=((100, 80, 1), (100, 80, 1)), outputs=8)


def _valid(kernels: int, size: tuple[int, int], stride: tuple[int, ...] = (1,), end: str = "relu") -> Convolution:
    return Convolution(kernels, size, stride, padding="valid", activation=end)


def _towers(layers: Sequence[Layer], views: int) -> tuple[NetworkBuilder, list[int]]:
    """Return the same layers for each view, and where they end."""
    net, ends = NetworkBuilder(), []
    for view in range(views):
        tip = -1 - view
        for layer in layers:
            tip = net.add(layer, tip)
        ends.append(tip)
    return net, ends


def _classified(net: NetworkBuilder, ends: Sequence[int]) -> Genome:
    net.add(FullyConnected(64, activation="linear"), *ends)
    for last in (False, True):
        net.add(Dropout(0.1))
        net.add(Activation("relu"))
        if not last:
            net.add(FullyConnected(64, activation="linear"))
    return net.genome()


def minerva_start() -> Genome:
    """Return the network from which the search for MINERvA's vertices began."""
    tower = [
        _valid(12, (8, 3)), _OFF, _valid(20, (12, 45)), _HALVED, _valid(28, (11, 1)), _HALVED, Flatten(),
    ]  # fmt: skip
    return _classified(*_towers(tower, 3))


def minerva_633167() -> Genome:
    """Return an evolved network for MINERvA's vertices."""
    tower = [
        _valid(32, (8, 3), (2, 1)), Dropout(0.1), _OFF, _valid(20, (6, 7)), _valid(28, (12, 39)), _HALVED, Flatten(),
    ]  # fmt: skip
    return _classified(*_towers(tower, 3))


def _inception(net: NetworkBuilder, *sources: int) -> int:
    """Add the module of four branches, 64 / 96 to 128 / 16 to 32 / 32 kernels."""
    start = net.add(Activation("linear"), *sources)
    one = net.add(Convolution(64, (1,)), start)
    three = net.add(Convolution(128, (3,)), net.add(Convolution(96, (1,)), start))
    five = net.add(Convolution(32, (5,)), net.add(Convolution(16, (1,)), start))
    pooled = net.add(Convolution(32, (1,)), net.add(Pooling((3,), (1,)), start))
    return net.add(Activation("linear"), one, three, five, pooled)


def nova() -> Genome:
    """Return an evolved network for NOvA's events; Caffe divides alpha by the five channels of the sum."""
    tower = [
        _valid(32, (7, 7), (2, 2), "linear"), Dropout(0.680607), Activation("relu"),
        Pooling((37, 3), (5, 3), padding="valid"), Activation("sigmoid"), _valid(7, (1, 4), end="linear"),
        _valid(46, (1, 1), end="linear"), _valid(96, (1, 9)), _valid(58, (1, 1)),
        LocalResponseNormalisation(alpha=1e-4 / 5),
    ]  # fmt: skip
    net, ends = _towers(tower, 2)
    joined = [_inception(net, end) for end in ends]
    _inception(net, *joined)
    net.add(LocalResponseNormalisation(alpha=0.906179 / 5))
    return net.genome()


NETWORKS: dict[str, tuple[Problem, Callable[[], Genome]]] = {
    "MINERvA, start": (MINERVA, minerva_start),
    "MINERvA, 633167": (MINERVA, minerva_633167),
    "NOvA": (NOVA, nova),
}
