"""A trained network, or an ensemble of several, in a child process. Runs on a worker and on the driver.

Keras runs in the child, one for each worker process; see `menndl_dask.prediction.model_process`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from menndl_dask.errors import TrainerError
from menndl_dask.evaluation.child_process import ChildProcess

_ANSWER_S = 600.0
Array = NDArray[Any]


class ModelDescription(NamedTuple):
    """Names and shapes of the inputs of a network, and shape and activation function of its output."""

    names: tuple[str, ...]
    inputs: tuple[tuple[int | None, ...], ...]  # (spatial…, channel) of each; None where any size is accepted
    output: tuple[int | None, ...]
    activation: str  # empty if there is none


class ModelSpec(NamedTuple):
    """The ``.keras`` files to apply, how, and the store that the predictions are written to."""

    paths: tuple[str, ...]  # of an ensemble: the mean of their predictions is written
    tile: tuple[int, ...] | None  # pixels along each axis that the network is resized to; None to keep its own size
    target: str
    # spatial axes along which images are flipped, one entry for each prediction of which the mean is taken
    flips: tuple[tuple[int, ...], ...] = ((),)
    imports: tuple[str, ...] = ()  # names of the user's own code that may be imported for layers of the networks
    folders: tuple[str, ...] = ()  # from which it is imported

    @property
    def name(self) -> str:
        """Path, for messages."""
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return f"{self.paths[0]}{more}"


class Network:
    """A trained network in a child process; a lock lets one thread use it at a time.

    Raises
    ------
    TrainerError
        If the network cannot be loaded.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._lock = threading.Lock()
        self._child = ChildProcess("menndl_dask.prediction.model_process")
        try:
            self.adapt(spec)
        except TrainerError:
            self._child.close()
            raise

    def adapt(self, spec: ModelSpec) -> None:
        """Load the network for another tile size."""
        with self._lock:
            answer = self._child.ask(("load", spec.paths, spec.tile, spec.imports, spec.folders), _ANSWER_S)
            self.description = ModelDescription(**answer)
        self.spec = spec

    def predict(self, inputs: Iterator[tuple[Array, ...]], batch: int) -> Iterator[NDArray[np.float32]]:
        """Yield the output for each input, a tuple of views; they are passed to the network in batches."""
        while taken := list(islice(inputs, batch)):
            views = []
            for view in zip(*taken, strict=True):
                array = np.zeros((batch, *view[0].shape), np.float32)
                array[: len(view)] = view
                views.append(array)
            with self._lock:
                outputs = self._child.ask(("predict", views, self.spec.flips), _ANSWER_S)
            yield from np.asarray(outputs)[: len(taken)]

    def close(self) -> None:
        """End the child process."""
        with self._lock:
            self._child.close()


_NETWORKS: dict[str, Network] = {}  # of this process, by target store
_NETWORKS_LOCK = threading.Lock()


def get_network(spec: ModelSpec) -> Network:
    """Return the network of this process, loaded on first use; `release` closes it.

    Raises
    ------
    TrainerError
        If the network cannot be loaded.
    """
    with _NETWORKS_LOCK:
        if spec.target not in _NETWORKS:
            _NETWORKS[spec.target] = Network(spec)
        held = _NETWORKS[spec.target]
        if held.spec != spec:
            held.adapt(spec)
        return held


def release(target: str) -> None:
    """End the child process that predicts for a target, if there is one."""
    with _NETWORKS_LOCK:
        held = _NETWORKS.pop(target, None)
    if held is not None:
        held.close()
