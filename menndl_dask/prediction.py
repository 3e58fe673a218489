"""Prediction: a block of images is read, a network applied, and its answer written. Runs on a worker.

Keras is loaded in a child process, one for each worker's process, see `menndl_dask.predictor`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from menndl_dask.child import Child
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.scene import Scene
from menndl_dask.tiling import Cut, Tiling, stitched, tiles_of

_BLOCK_PIXELS = 2**20  # of a block, the samples' together: bounds a task's memory to some tens of megabytes
_BATCH_PIXELS = 2**17  # that the network sees at once
_ANSWER_S = 600.0


class Description(NamedTuple):
    """What a network takes and gives.

    Parameters
    ----------
    names
        Of its inputs.
    inputs
        Their shapes, ``(spatial…, channel)``; None for a size that it leaves open.
    output
        Shape of its answer, likewise.
    activation
        The function that its answer comes from; empty if it has none.
    """

    names: tuple[str, ...]
    inputs: tuple[tuple[int | None, ...], ...]
    output: tuple[int | None, ...]
    activation: str


class Block(NamedTuple):
    """What a task does: these samples, and along each axis this cut (none where the network takes whole images)."""

    start: int
    stop: int
    cuts: tuple[Cut, ...]


class Use(NamedTuple):
    """The use of a network: its file, the size of tile it is adapted to (its own if None), and for which target."""

    model: str
    tile: tuple[int, ...] | None
    target: str


@dataclass(frozen=True, slots=True)
class Job:
    """What all blocks have in common; travels to the workers.

    Parameters
    ----------
    use
        The network.
    scenes
        The images of each view.
    tilings
        How they are cut along each axis; empty for a network that takes whole images.
    outputs
        Numbers that the network answers, for each pixel or image.
    classes
        Names of the classes; nothing for a network that answers with values.
    probabilities
        Write the probability of each class instead of the most likely one.
    """

    use: Use
    scenes: tuple[Scene, ...]
    tilings: tuple[Tiling, ...]
    outputs: int
    classes: tuple[str, ...] | None
    probabilities: bool = False

    @property
    def variable(self) -> str:
        """Name of what is written."""
        return "probability" if self.probabilities else "prediction"

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of what is written."""
        scene = self.scenes[0]
        kept = scene.kept_dims if self.tilings else scene.kept_dims[: scene.places.sample is not None]
        if self.classes is None:
            return (*kept, "value")
        return (*kept, "class") if self.probabilities else kept

    @property
    def dtype(self) -> str:
        """Type of what is written."""
        if self.classes is None or self.probabilities:
            return "float32"
        return "uint8" if self.fill == 255 else "uint16"

    @property
    def fill(self) -> int:
        """The class of a pixel about which the network says nothing, since the image has no value there."""
        return 255 if len(self.classes or ()) <= 255 else 65535

    @property
    def step(self) -> tuple[int, ...]:
        """Samples, and pixels along each axis, of a block."""
        side = max(1, round(_BLOCK_PIXELS ** (1 / max(1, len(self.tilings)))))
        pixels = tuple(tiling.step(side) for tiling in self.tilings)
        each = math.prod(pixels) if pixels else math.prod(self.scenes[0].size)
        return (min(self.scenes[0].samples, max(1, _BLOCK_PIXELS // each)), *pixels)

    @property
    def batch(self) -> int:
        """Tiles (or images) that the network sees at once; always as many, so that it is compiled once."""
        tile = math.prod(t.tile for t in self.tilings) if self.tilings else math.prod(self.scenes[0].size)
        samples, *pixels = self.step
        most = samples * math.prod(-(-n // t.core) for n, t in zip(pixels, self.tilings, strict=True))
        return max(1, min(_BATCH_PIXELS // tile, most))

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks; no two write into the same stored chunk."""
        samples, *pixels = self.step
        cuts = [tiling.cuts(step) for tiling, step in zip(self.tilings, pixels, strict=True)]
        for start in range(0, self.scenes[0].samples, samples):
            stop = min(start + samples, self.scenes[0].samples)
            for block in product(*cuts):
                yield Block(start, stop, block)


class Network:
    """A trained network in a child process; threads take turns.

    Parameters
    ----------
    use
        Which, and for which size.

    Raises
    ------
    TrainerError
        If it cannot be loaded.
    """

    def __init__(self, use: Use) -> None:
        self._lock = threading.Lock()
        self._child = Child("menndl_dask.predictor")
        try:
            self.adapt(use)
        except TrainerError:
            self._child.close()
            raise

    def adapt(self, use: Use) -> None:
        """Load it anew, for another size of tile."""
        with self._lock:
            self.description = Description(**self._child.ask(("load", use.model, use.tile), _ANSWER_S))
        self.use = use

    def predict(self, inputs: Iterator[tuple[NDArray[Any], ...]], batch: int) -> NDArray[np.float32]:
        """Return the answer to each input, a view or several; the network sees a batch of them at once."""
        answers: list[NDArray[np.float32]] = []
        waiting: list[tuple[NDArray[Any], ...]] = []
        for one in inputs:
            waiting.append(one)
            if len(waiting) == batch:
                answers.append(self._asked(waiting, batch))
                waiting = []
        if waiting:
            answers.append(self._asked(waiting, batch))
        return np.concatenate(answers)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._child.close()

    def _asked(self, inputs: Sequence[tuple[NDArray[Any], ...]], batch: int) -> NDArray[np.float32]:
        views = []
        for view in zip(*inputs, strict=True):
            array = np.zeros((batch, *view[0].shape), np.float32)
            array[: len(view)] = view
            views.append(array)
        with self._lock:
            return np.asarray(self._child.ask(("predict", views), _ANSWER_S))[: len(inputs)]


_NETWORKS: dict[str, Network] = {}  # of this process, by target
_NETWORKS_LOCK = threading.Lock()


def network(use: Use) -> Network:
    """Return this process's network for a use; it stays until its target is released.

    Raises
    ------
    TrainerError
        If it cannot be loaded.
    """
    with _NETWORKS_LOCK:
        if use.target not in _NETWORKS:
            _NETWORKS[use.target] = Network(use)
        held = _NETWORKS[use.target]
        if held.use != use:
            held.adapt(use)
        return held


def release(target: str) -> None:
    """End this process's child that predicts for a target, if there is one."""
    with _NETWORKS_LOCK:
        held = _NETWORKS.pop(target, None)
    if held is not None:
        held.close()


def predict_block(block: Block, job: Job) -> None:
    """Read a block with its margin, apply the network, and write what it answers into the target.

    Raises
    ------
    UserError
        If the images cannot be read, the target cannot be written, or the network fails.
    """
    samples = slice(block.start, block.stop)
    pixels = [slice(cut.low, cut.high) for cut in block.cuts]
    views = [scene.read(samples, pixels or [slice(None)] * len(scene.size)) for scene in job.scenes]
    try:
        answers = network(job.use).predict(_pieces(job, block, views), job.batch)
    except TrainerError as error:
        raise UserError(f"{job.use.model}: the network failed: {error}") from error
    if job.tilings:
        each = answers.reshape(block.stop - block.start, -1, *answers.shape[1:])
        answers = np.stack([stitched(tiles, block.cuts, job.tilings) for tiles in each])
    index: list[Any] = [samples, *(slice(cut.start, cut.stop) for cut in block.cuts)]
    values = _told(job, answers)
    if job.scenes[0].places.sample is None:
        values, index = values[0], index[1:]
    index.append(...)
    try:
        zarr.open_array(f"{job.use.target}/{job.variable}", mode="r+")[tuple(index)] = values
    except OSError as error:
        raise UserError(f"{job.use.target}: cannot be written: {error}") from error


def _pieces(job: Job, block: Block, views: Sequence[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], ...]]:
    for images in zip(*views, strict=True):
        if job.tilings:
            yield from zip(*[tiles_of(image, block.cuts, job.tilings) for image in images], strict=True)
        else:
            yield images


def _told(job: Job, answers: NDArray[np.float32]) -> NDArray[Any]:
    """Return what is written: values, probabilities, or the most likely class."""
    if job.classes is None:
        return answers
    if job.outputs == 1:  # the probability of the second of two classes
        answers = np.concatenate([1 - answers, answers], axis=-1)
    if job.probabilities:
        return answers
    known = np.isfinite(answers).all(axis=-1)
    return np.where(known, answers.argmax(axis=-1), job.fill).astype(job.dtype)
