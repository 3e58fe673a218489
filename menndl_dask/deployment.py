"""Deployment: a trained network applied to images of any size, tile by tile. Runs on the driver.

A task predicts a block of the images, see `menndl_dask.prediction`: through Dask go only the bounds of blocks, so that
neither the driver nor the scheduler ever holds an image.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from distributed import Client, LocalCluster, as_completed

from menndl_dask import __version__, atomic
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.prediction import Description, Job, Use, network, predict_block, release
from menndl_dask.problem import Problem
from menndl_dask.scene import Scene, open_scene
from menndl_dask.settings import FILE
from menndl_dask.store import Run
from menndl_dask.tiling import Tiling

_LOG = logging.getLogger(__name__)
_OPEN_TILE = {1: 4096, 2: 256, 3: 64}  # side of a tile by rank, for a network that takes any size
_PROBABILITIES = ("softmax", "sigmoid")
_RUN_LEVELS = 3  # best.keras lies in the run directory, a kept network two folders below


def predict(
    model: str | Path,
    source: str | Path,
    target: str | Path,
    *,
    variable: str | Sequence[str] | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    client: Client | None = None,
    probabilities: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Apply a trained network to images of any size.

    A network for segmentation labels every pixel: images larger than the network's own size are cut into tiles that
    overlap. Any other network answers for each image as a whole, which must have the size it was trained on.

    Parameters
    ----------
    model
        The ``.keras`` file. The names of its classes come from the run directory that it lies in, if it does.
    source
        Zarr store with the images, or a bare Zarr array: spatial dimensions, and maybe samples and channels.
    target
        Zarr store to write; must not exist. It appears when it is complete.
    variable
        Variable with the images, several for a network with several views; by default named as the network's inputs.
    tile
        Side of a tile, by default the size that the network was trained on. Larger tiles are faster.
    overlap
        Pixels at each side of a tile whose prediction is thrown away, by default about a quarter of the tile.
    client
        Whose workers do it, on a file system that they share; by default threads of this process.
    probabilities
        Write the probability of each class (``probability``) instead of the most likely class (``prediction``).
    progress
        Called with the number of finished blocks and of all blocks.

    Returns
    -------
    pathlib.Path
        The target.

    Raises
    ------
    UserError
        If files are not as expected, or the images do not suit the network.
    """
    model, target = Path(model).absolute(), Path(target)
    _check_files(model, target)
    prepared = atomic.partial_path(target.absolute())
    try:
        job, facts = _planned(Use(str(model), None, str(prepared)), _absolute(source), variable, tile, overlap)
        if probabilities and job.classes is None:
            raise UserError(f"{model}: expected a network for classes, to write probabilities, got one for values")
        job = replace(job, probabilities=probabilities)
        _write_template(job, {"source": str(source), **facts})
        with _connected(client) as connected:
            _run(connected, job, progress)
        prepared.rename(target)
    finally:
        release(str(prepared))
        shutil.rmtree(prepared, ignore_errors=True)
    return target


def _check_files(model: Path, target: Path) -> None:
    if not model.is_file():
        raise UserError(f"{model}: expected a trained network, found no such file")
    if not zipfile.is_zipfile(model):
        raise UserError(f"{model}: expected a file in Keras's format .keras, got another")
    if target.exists():
        raise UserError(f"{target}: expected a new name, since nothing is overwritten; there is something already")
    if not target.absolute().parent.is_dir():
        raise UserError(f"{target}: expected a directory to write in, found no {target.absolute().parent}")


def _absolute(source: str | Path) -> str:
    """Return the path as workers in another working directory find it."""
    return str(source) if "://" in str(source) else str(Path(source).absolute())


def _planned(
    use: Use, source: str, variable: str | Sequence[str] | None, tile: int | None, overlap: int | None
) -> tuple[Job, dict[str, Any]]:
    """Look at the network and the images; return what is to be done, and the tiling in words."""
    facts = _described(use)
    names = _variables(use, facts, variable)
    scenes = tuple(
        open_scene(source, name, rank=len(shape) - 1, channels=shape[-1] or 1)
        for name, shape in zip(names, facts.inputs, strict=True)
    )
    tilings: tuple[Tiling, ...] = ()
    if len(facts.output) == len(facts.inputs[0]):
        sides = _tile_sides(facts, tile)
        if sides != facts.inputs[0][:-1]:
            use = use._replace(tile=sides)
            facts = _described(use)
        if facts.output[:-1] != sides:
            got = _by(facts.output[:-1])
            raise UserError(f"{use.model}: expected a label for each pixel of a tile of {_by(sides)}, got {got}")
        tilings = _tilings(scenes, sides, overlap)
    else:
        if tile is not None or overlap is not None:
            raise UserError(f"{use.model}: answers for whole images: expected neither a tile nor an overlap")
        _check_whole(scenes, facts)
    job = Job(use, scenes, tilings, facts.output[-1] or 1, _classes(_problem_of(Path(use.model)), facts))
    return job, {"tile": [t.tile for t in tilings], "overlap": [t.margin for t in tilings]} if tilings else {}


def _described(use: Use) -> Description:
    try:
        return network(use).description
    except TrainerError as error:
        size = f" for tiles of {_by(use.tile)} pixels" if use.tile else ""
        raise UserError(f"{use.model}: cannot be used{size}: {error}") from error


def _variables(use: Use, facts: Description, variable: str | Sequence[str] | None) -> tuple[str, ...]:
    if variable is None:
        return facts.names
    names = (variable,) if isinstance(variable, str) else tuple(variable)
    if len(names) != len(facts.names):
        wanted = f"{len(facts.names)} variables, for the views {', '.join(facts.names)}"
        raise UserError(f"{use.model}: expected {wanted}, got {', '.join(names) or 'none'}")
    return names


def _tile_sides(facts: Description, tile: int | None) -> tuple[int, ...]:
    own = facts.inputs[0][:-1]
    if any(shape[:-1] != own for shape in facts.inputs):
        sizes = ", ".join(_by(shape[:-1]) for shape in facts.inputs)
        raise UserError(f"expected a network whose views have one size, to cut them into tiles, got {sizes}")
    if tile is None:
        return tuple(_OPEN_TILE.get(len(own), 64) if n is None else n for n in own)
    if tile < 1:
        raise UserError(f"tile: expected at least 1 pixel, got {tile}")
    return (tile,) * len(own)


def _tilings(scenes: Sequence[Scene], sides: Sequence[int], overlap: int | None) -> tuple[Tiling, ...]:
    first = scenes[0]
    for scene in scenes[1:]:
        if (scene.samples, scene.size) != (first.samples, first.size):
            expected = f"{first.samples} images of {_by(first.size)} pixels, as in {first.name}"
            raise UserError(f"{scene.told}: expected {expected}, got {scene.samples} of {_by(scene.size)}")
    if overlap is not None and not 0 <= 2 * overlap < min(sides):
        raise UserError(f"overlap: expected 0 to less than half a tile of {_by(sides)} pixels, got {overlap}")
    margins = [_default_overlap(side) if overlap is None else overlap for side in sides]
    return tuple(Tiling(n, side, margin) for n, side, margin in zip(first.size, sides, margins, strict=True))


def _default_overlap(side: int) -> int:
    """Return about a quarter, in steps that suit the grid of a network that halves its images up to three times."""
    quarter = side // 4
    return quarter - quarter % 8 if quarter >= 8 else quarter


def _check_whole(scenes: Sequence[Scene], facts: Description) -> None:
    for scene, shape in zip(scenes, facts.inputs, strict=True):
        if any(n not in (None, m) for n, m in zip(shape[:-1], scene.size, strict=True)):
            expected = f"images of {_by(shape[:-1])} pixels, as the network was trained on"
            raise UserError(f"{scene.told}: expected {expected}, got {_by(scene.size)}")
        if scene.samples != scenes[0].samples:
            raise UserError(f"{scene.told}: expected {scenes[0].samples} samples, got {scene.samples}")


def _problem_of(model: Path) -> Problem | None:
    """Return the problem of the run that a network lies in, if it does."""
    for folder in list(model.parents)[:_RUN_LEVELS]:
        if (folder / FILE).is_file():
            return Run(folder).problem
    return None


def _classes(problem: Problem | None, facts: Description) -> tuple[str, ...] | None:
    """Return the names of the classes, numbers where nobody knows them; nothing for a network that tells values."""
    if problem is None and facts.activation not in _PROBABILITIES:
        return None
    if problem is not None and problem.task == "regression":
        return None
    outputs = max(2, facts.output[-1] or 1)  # a single one is the probability of the second of two classes
    if problem is not None and len(problem.facts.classes) == outputs:
        return problem.facts.classes
    return tuple(str(n) for n in range(outputs))


def _write_template(job: Job, facts: dict[str, Any]) -> None:
    """Write the store without its values, one stored chunk for each block."""
    scene, model = job.scenes[0], Path(job.use.model)
    sizes = {**dict(zip(scene.dims, scene.shape, strict=True)), "class": len(job.classes or ()), "value": job.outputs}
    steps = dict(zip(scene.kept_dims, job.step if scene.places.sample is not None else job.step[1:], strict=False))
    shape, chunks = [tuple(known.get(d, sizes[d]) for d in job.dims) for known in (sizes, steps)]
    attributes: dict[str, Any] = {} if job.classes is None else {"classes": list(job.classes)}
    if job.dtype != "float32":
        attributes["fill"] = job.fill
    values = da.zeros(shape, dtype=job.dtype, chunks=chunks)
    coordinates: dict[str, Any] = {k: c for k, c in scene.coordinates().items() if set(c.dims) <= set(job.dims)}
    if job.probabilities:
        coordinates["class"] = ("class", np.array(job.classes, dtype=object))
    dataset = xr.Dataset({job.variable: (job.dims, values, attributes)}, coordinates, _provenance(job, model, facts))
    with warnings.catch_warnings():
        # names of classes and samples are strings, of which Zarr 3 has no final specification yet
        warnings.filterwarnings("ignore", message=".*Zarr V3 specification.*")
        dataset.to_zarr(job.use.target, mode="w", compute=False, consolidated=False, zarr_format=3)


def _provenance(job: Job, model: Path, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": f"Predicted by {model.name}",
        "model": str(model),
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "variables": [scene.name for scene in job.scenes],
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "menndl_dask": __version__,
        **facts,
    }


@contextmanager
def _connected(client: Client | None) -> Iterator[Client]:
    """Give the client, or one whose only worker is two threads of this process: one reads while the other predicts."""
    if client is not None:
        yield client
        return
    cluster = LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.ERROR,
    )
    with cluster, Client(cluster) as own:
        yield own


def _run(client: Client, job: Job, progress: Callable[[int, int], None] | None) -> None:
    blocks = list(job.blocks())
    _LOG.info("%d blocks of %s", len(blocks), _by(job.step))
    futures = client.map(predict_block, blocks, job=job, pure=False)
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if progress is not None:
                progress(done, len(blocks))
    finally:
        client.cancel(futures)
        client.run(release, job.use.target, on_error="ignore")


def _by(numbers: Sequence[int | None] | None) -> str:
    return " × ".join("any" if n is None else str(n) for n in numbers or ())
