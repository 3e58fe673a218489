"""Prediction on images of any size with a trained network, tile by tile. Runs on the driver.

Each Dask task predicts one block of the images; see `menndl_dask.prediction.blocks`. Dask carries only the bounds
of the blocks, so that neither the driver nor the scheduler holds an image.
"""

from __future__ import annotations

import hashlib
import logging
import time
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from distributed import Client, LocalCluster, as_completed

from menndl_dask import __version__, files
from menndl_dask.data.tiling import Tiling
from menndl_dask.errors import TrainerError, UserError
from menndl_dask.prediction.blocks import Job, ModelDescription, ModelSpec, get_network, predict_block, release
from menndl_dask.prediction.images import ImageSource, open_images
from menndl_dask.run.run import Run
from menndl_dask.run.settings import FILE

_LOG = logging.getLogger(__name__)
_OPEN_TILE = {1: 4096, 2: 256, 3: 64}  # side of a tile by rank, for a network that takes any size
_PROBABILITIES = ("softmax", "sigmoid")
_RUN_LEVELS = 3  # best.keras is in the run directory, a kept network two folders below


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

    A segmentation network labels every pixel: images larger than the network's input are split into overlapping tiles.
    Any other network predicts for each image as a whole, which must have the size of the training images.

    Parameters
    ----------
    model
        The ``.keras`` file. Class names are read from the run directory that contains it, if there is one.
    source
        Zarr store with the images, or a Zarr array. Spatial dimensions are required, samples and channels optional.
    target
        Zarr store to write; must not exist. It is created under this name when it is complete.
    variable
        Variable with the images, one for each view of the network; by default the names of the network's inputs.
    tile
        Side of a tile in pixels; by default the size of the training images. Larger tiles are faster.
    overlap
        Pixels at each side of a tile whose prediction is discarded; by default an eighth of the tile.
        As many are blended with the next tile.
    client
        Dask client; its workers must share a file system with this process. By default threads of this process.
    probabilities
        Write the probability of each class (``probability``) instead of the most likely class (``prediction``).
    progress
        Called with the number of finished blocks and the number of all blocks.

    Returns
    -------
    pathlib.Path
        The target.

    Raises
    ------
    UserError
        If a file is not as expected, or the images do not fit the network.
    """
    model, target = Path(model).absolute(), Path(target)
    _check_files(model, target)
    absolute = str(source) if "://" in str(source) else str(Path(source).absolute())
    with files.replacing(target.absolute()) as prepared:
        try:
            job, tiling = _plan(ModelSpec(str(model), None, str(prepared)), absolute, variable, tile, overlap)
            if probabilities and job.classes is None:
                raise UserError(f"{model}: probabilities: expected a network for classes, got a regression network")
            job = replace(job, probabilities=probabilities)
            _write_template(job, {"source": str(source), **tiling})
            if client is not None:
                _run(client, job, progress)
            else:
                with _local_cluster() as cluster, Client(cluster) as own:
                    _run(own, job, progress)
        finally:
            release(str(prepared))
    return target


def _check_files(model: Path, target: Path) -> None:
    if not model.is_file():
        raise UserError(f"{model}: expected a trained network, found no such file")
    if not zipfile.is_zipfile(model):
        raise UserError(f"{model}: expected a file in Keras format .keras, got another format")
    if target.exists():
        raise UserError(f"{target}: expected a new name; this one exists and is not overwritten")
    if not target.absolute().parent.is_dir():
        raise UserError(f"{target}: expected an existing directory, found no {target.absolute().parent}")


def _plan(
    spec: ModelSpec, source: str, variable: str | Sequence[str] | None, tile: int | None, overlap: int | None
) -> tuple[Job, dict[str, Any]]:
    """Return the job for a network and images, and the tiling as attributes for the target store."""
    model = _describe(spec)
    names = model.names if variable is None else (variable,) if isinstance(variable, str) else tuple(variable)
    if len(names) != len(model.names):
        wanted = f"{len(model.names)} variables, for the views {', '.join(model.names)}"
        raise UserError(f"{spec.path}: expected {wanted}, got {', '.join(names) or 'none'}")
    sources = tuple(
        open_images(source, name, rank=len(shape) - 1, channels=shape[-1] or 1)
        for name, shape in zip(names, model.inputs, strict=True)
    )
    tilings: tuple[Tiling, ...] = ()
    if len(model.output) == len(model.inputs[0]):
        sides = _tile_sides(model, tile)
        if sides != model.inputs[0][:-1]:
            spec = spec._replace(tile=sides)
            model = _describe(spec)
        if model.output[:-1] != sides:
            got = _by(model.output[:-1])
            raise UserError(f"{spec.path}: expected a label for each pixel of a tile of {_by(sides)}, got {got}")
        tilings = _tilings(sources, sides, overlap)
    else:
        if tile is not None or overlap is not None:
            raise UserError(f"{spec.path}: predicts for whole images: expected neither a tile nor an overlap")
        _check_whole(sources, model)
    job = Job(spec, sources, tilings, model.output[-1] or 1, _classes(Path(spec.path), model))
    facts = {"tile": [t.tile for t in tilings], "overlap": [t.margin for t in tilings]}
    return job, {**facts, "blend": [t.blend for t in tilings]} if tilings else {}


def _describe(spec: ModelSpec) -> ModelDescription:
    try:
        return get_network(spec).description
    except TrainerError as error:
        size = f" for tiles of {_by(spec.tile)} pixels" if spec.tile else ""
        raise UserError(f"{spec.path}: cannot be used{size}: {error}") from error


def _tile_sides(model: ModelDescription, tile: int | None) -> tuple[int, ...]:
    own = model.inputs[0][:-1]
    if any(shape[:-1] != own for shape in model.inputs):
        sizes = ", ".join(_by(shape[:-1]) for shape in model.inputs)
        raise UserError(f"expected a network whose views have equal sizes, to cut them into tiles, got {sizes}")
    if tile is None:
        return tuple(_OPEN_TILE.get(len(own), 64) if n is None else n for n in own)
    if tile < 1:
        raise UserError(f"tile: expected at least 1 pixel, got {tile}")
    return (tile,) * len(own)


def _tilings(sources: Sequence[ImageSource], sides: Sequence[int], overlap: int | None) -> tuple[Tiling, ...]:
    first = sources[0]
    for source in sources[1:]:
        if (source.samples, source.size) != (first.samples, first.size):
            expected = f"{first.samples} images of {_by(first.size)} pixels, as in {first.name}"
            raise UserError(f"{source.label}: expected {expected}, got {source.samples} of {_by(source.size)}")
    if overlap is not None and not 0 <= 2 * overlap < min(sides):
        raise UserError(f"overlap: expected 0 to less than half a tile of {_by(sides)} pixels, got {overlap}")
    return tuple(Tiling.of(n, side, overlap) for n, side in zip(first.size, sides, strict=True))


def _check_whole(sources: Sequence[ImageSource], model: ModelDescription) -> None:
    for source, shape in zip(sources, model.inputs, strict=True):
        if any(n not in (None, m) for n, m in zip(shape[:-1], source.size, strict=True)):
            expected = f"images of {_by(shape[:-1])} pixels, as the network was trained on"
            raise UserError(f"{source.label}: expected {expected}, got {_by(source.size)}")
        if source.samples != sources[0].samples:
            raise UserError(f"{source.label}: expected {sources[0].samples} samples, got {source.samples}")


def _classes(path: Path, model: ModelDescription) -> tuple[str, ...] | None:
    """Return the class names, or numbers where names are not known; None for a regression network.

    Task and class names are those of the run directory that contains the network, if there is one.
    """
    problem = next((Run(folder).problem for folder in path.parents[:_RUN_LEVELS] if (folder / FILE).is_file()), None)
    regression = model.activation not in _PROBABILITIES if problem is None else problem.task == "regression"
    if regression:
        return None
    outputs = max(2, model.output[-1] or 1)  # a single output is the probability of the second of two classes
    if problem is not None and len(problem.facts.classes) == outputs:
        return problem.facts.classes
    return tuple(str(n) for n in range(outputs))


def _write_template(job: Job, facts: dict[str, Any]) -> None:
    """Write the metadata of the store, with one chunk for each block."""
    source, model = job.sources[0], Path(job.model.path)
    sizes = {**dict(zip(source.dims, source.shape, strict=True)), "class": len(job.classes or ()), "value": job.outputs}
    steps = dict(zip(source.kept_dims, job.step if source.axes.sample is not None else job.step[1:], strict=False))
    shape, chunks = [tuple(known.get(d, sizes[d]) for d in job.dims) for known in (sizes, steps)]
    attributes: dict[str, Any] = {} if job.classes is None else {"classes": list(job.classes)}
    if job.dtype != "float32":
        attributes["fill"] = job.fill
    values = da.zeros(shape, dtype=job.dtype, chunks=chunks)
    coordinates: dict[str, Any] = {k: c for k, c in source.coordinates().items() if set(c.dims) <= set(job.dims)}
    if job.probabilities:
        coordinates["class"] = ("class", np.array(job.classes, dtype=object))
    provenance = {
        "title": f"Predicted by {model.name}",
        "model": str(model),
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "variables": [source.name for source in job.sources],
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "menndl_dask": __version__,
    }
    dataset = xr.Dataset({job.variable: (job.dims, values, attributes)}, coordinates, {**provenance, **facts})
    with warnings.catch_warnings():
        # names of classes and samples are strings, of which Zarr 3 has no final specification yet
        warnings.filterwarnings("ignore", message=".*Zarr V3 specification.*")
        dataset.to_zarr(job.model.target, mode="w", compute=False, consolidated=False, zarr_format=3)


def _local_cluster() -> LocalCluster:
    """Return a cluster of two threads in this process: one reads while the other predicts."""
    return LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.ERROR,
    )


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
        client.run(release, job.model.target, on_error="ignore")


def _by(numbers: Sequence[int | None] | None) -> str:
    return " × ".join("any" if n is None else str(n) for n in numbers or ())
