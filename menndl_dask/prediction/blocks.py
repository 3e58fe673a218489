"""Block-wise prediction: read a block of images, apply a network, write its output. Runs on a worker.

Keras runs in a child process, one for each worker process; see `menndl_dask.prediction.model_process`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from menndl_dask.data.tiling import Span, Tiling, block_size, split_tiles, stitch
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.evaluation.child_process import ChildProcess
from menndl_dask.prediction.images import ImageSource

_BLOCK_PIXELS = 2**20  # of all samples of a block: limits the memory of a Dask task to some tens of megabytes
_BATCH_PIXELS = 2**17  # in one forward pass
_ANSWER_S = 600.0


class ModelDescription(NamedTuple):
    """Names and shapes of the inputs of a network, and shape and activation function of its output."""

    names: tuple[str, ...]
    inputs: tuple[tuple[int | None, ...], ...]  # (spatial…, channel) of each; None where any size is accepted
    output: tuple[int | None, ...]
    activation: str  # empty if there is none


class Block(NamedTuple):
    """Samples, and span along each axis, of one Dask task; no spans for a network that takes whole images."""

    start: int
    stop: int
    spans: tuple[Span, ...]


class ModelSpec(NamedTuple):
    """A ``.keras`` file to apply, and the store that its predictions are written to."""

    path: str
    tile: tuple[int, ...] | None  # pixels along each axis that the network is resized to; None to keep its own size
    target: str


@dataclass(frozen=True, slots=True)
class Job:
    """Settings that all blocks share; sent to the workers."""

    model: ModelSpec
    sources: tuple[ImageSource, ...]  # of each view
    tilings: tuple[Tiling, ...]  # along each axis; empty for a network that takes whole images
    outputs: int  # of the network for each pixel or image
    classes: tuple[str, ...] | None  # their names; None for a regression network
    probabilities: bool = False  # write the probability of each class instead of the most likely one

    @property
    def variable(self) -> str:
        """Name of the variable that is written."""
        return "probability" if self.probabilities else "prediction"

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of the variable that is written."""
        source = self.sources[0]
        kept = source.kept_dims if self.tilings else source.kept_dims[: source.axes.sample is not None]
        if self.classes is None:
            return (*kept, "value")
        return (*kept, "class") if self.probabilities else kept

    @property
    def dtype(self) -> str:
        """Data type of the variable that is written."""
        if self.classes is None or self.probabilities:
            return "float32"
        return "uint8" if self.fill == 255 else "uint16"

    @property
    def fill(self) -> int:
        """Class number of pixels without a prediction, where the image is NaN."""
        return 255 if len(self.classes or ()) <= 255 else 65535

    @property
    def step(self) -> tuple[int, ...]:
        """Size of a block: samples, and pixels along each axis."""
        pixels = block_size(self.tilings, _BLOCK_PIXELS)
        each = math.prod(pixels) if pixels else math.prod(self.sources[0].size)
        return (min(self.sources[0].samples, max(1, _BLOCK_PIXELS // each)), *pixels)

    @property
    def batch(self) -> int:
        """Number of tiles (or images) in a batch; constant, so that the network is compiled once."""
        tile = math.prod(t.tile for t in self.tilings) if self.tilings else math.prod(self.sources[0].size)
        samples, *pixels = self.step
        most = samples * math.prod(len(t.spans(n)[0].tiles) for n, t in zip(pixels, self.tilings, strict=True))
        return max(1, min(_BATCH_PIXELS // tile, most))

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks; no two write into the same stored chunk."""
        samples, *pixels = self.step
        spans = [tiling.spans(step) for tiling, step in zip(self.tilings, pixels, strict=True)]
        for start in range(0, self.sources[0].samples, samples):
            stop = min(start + samples, self.sources[0].samples)
            for block in product(*spans):
                yield Block(start, stop, block)


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
            self.description = ModelDescription(**self._child.ask(("load", spec.path, spec.tile), _ANSWER_S))
        self.spec = spec

    def predict(self, inputs: Iterator[tuple[NDArray[Any], ...]], batch: int) -> NDArray[np.float32]:
        """Return the outputs for some inputs, each a tuple of views; they are passed to the network in batches."""
        outputs = []
        while taken := list(islice(inputs, batch)):
            views = []
            for view in zip(*taken, strict=True):
                array = np.zeros((batch, *view[0].shape), np.float32)
                array[: len(view)] = view
                views.append(array)
            with self._lock:
                outputs.append(np.asarray(self._child.ask(("predict", views), _ANSWER_S))[: len(taken)])
        return np.concatenate(outputs)

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


def predict_block(block: Block, job: Job) -> None:
    """Read a block with its margin, apply the network, and write the prediction to the target.

    Raises
    ------
    UserError
        If the images cannot be read, the target cannot be written, or the network fails.
    """
    samples = slice(block.start, block.stop)
    pixels = [span.read for span in block.spans]
    views = [source.read(samples, pixels or [slice(None)] * len(source.size)) for source in job.sources]
    try:
        outputs = get_network(job.model).predict(_inputs(job, block, views), job.batch)
    except TrainerError as error:
        raise UserError(f"{job.model.path}: the network failed: {error}") from error
    if job.tilings:
        each = outputs.reshape(block.stop - block.start, -1, *outputs.shape[1:])
        outputs = np.stack([stitch(tiles, block.spans, job.tilings) for tiles in each])
    index: list[Any] = [samples, *(span.predicted for span in block.spans)]
    values = _to_output(job, outputs)
    if job.sources[0].axes.sample is None:
        values, index = values[0], index[1:]
    index.append(...)
    try:
        zarr.open_array(f"{job.model.target}/{job.variable}", mode="r+")[tuple(index)] = values
    except OSError as error:
        raise UserError(f"{job.model.target}: cannot be written: {error}") from error


def _inputs(job: Job, block: Block, views: Sequence[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], ...]]:
    for images in zip(*views, strict=True):
        if job.tilings:
            yield from zip(*[split_tiles(image, block.spans, job.tilings) for image in images], strict=True)
        else:
            yield images


def _to_output(job: Job, outputs: NDArray[np.float32]) -> NDArray[Any]:
    """Return values, probabilities, or the most likely class."""
    if job.classes is None:
        return outputs
    if job.outputs == 1:  # the probability of the second of two classes
        outputs = np.concatenate([1 - outputs, outputs], axis=-1)
    if job.probabilities:
        return outputs
    known = np.isfinite(outputs).all(axis=-1)
    return np.where(known, outputs.argmax(axis=-1), job.fill).astype(job.dtype)
