"""The Zarr store that predictions are written to, laid out as the images are. Runs on the driver."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from menndl_dask import __version__
from menndl_dask.data.dataset import open_store
from menndl_dask.data.formats.labels.peaks import Position, middles, peaks, table
from menndl_dask.data.store.variable import SAMPLES
from menndl_dask.files import write_text
from menndl_dask.prediction.images import ImageSource
from menndl_dask.prediction.plan import Plan


def write_template(plan: Plan, facts: Mapping[str, Any]) -> None:
    """Write the metadata of the store, with one chunk for each block, and the coordinates of the images.

    Images of unequal size have each a group, as in the source; outputs for whole images are one variable.
    """
    views = [sources[0] for sources in plan.images]
    if plan.job.how != "tiles":
        own = bool(views[0].group)
        dims = ("sample",) if own else views[0].kept_dims[: views[0].axes.sample is not None]
        coordinates = _of_samples(views[0], plan.samples) if own else views[0].coordinates()
        sizes, chunks = dict.fromkeys(dims, plan.samples), dict.fromkeys(dims, plan.step)
        dataset = _variable(plan, dims, sizes, chunks, coordinates, {})
    elif views[0].group:
        dataset = xr.Dataset(coords=_of_samples(views[0], len(views)))
    else:
        dataset = _pixels(plan, 0)
    _write(dataset.assign_attrs(_provenance(plan), **facts), plan.job.model.target, "")
    if plan.job.how == "tiles" and views[0].group:
        for number, source in enumerate(views):
            _write(_pixels(plan, number), plan.job.model.target, source.group)


def _pixels(plan: Plan, number: int) -> xr.Dataset:
    """Return the variable of the outputs for the pixels of some images of equal size."""
    source = plan.images[number][0]
    dims = source.kept_dims
    steps = plan.steps(number) if source.axes.sample is not None else plan.steps(number)[1:]
    sizes = dict(zip(source.dims, source.shape, strict=True))
    attributes = {"spacing": list(source.spacing)} if source.spacing else {}
    return _variable(plan, dims, sizes, dict(zip(dims, steps, strict=True)), source.coordinates(), attributes)


def _variable(
    plan: Plan,
    dims: Sequence[str],
    sizes: Mapping[str, int],
    chunks: Mapping[str, int],
    coordinates: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    job = plan.job
    last = {"value": job.outputs} if job.classes is None else {}
    if job.probabilities:
        last = {"class": len(job.classes or ())}
    sizes, dims = {**sizes, **last}, (*dims, *last)
    steps = tuple(chunks.get(dim, sizes[dim]) for dim in dims)
    values = da.zeros([sizes[dim] for dim in dims], dtype=job.dtype, chunks=steps)
    own: dict[str, Any] = {} if job.classes is None else {"classes": list(job.classes)}
    if job.dtype != "float32":
        own["fill"] = job.fill
    kept = {name: values for name, values in coordinates.items() if set(values.dims) <= set(dims)}
    if job.probabilities:
        kept["class"] = xr.DataArray(np.array(job.classes, dtype=object), dims="class")
    return xr.Dataset({job.variable: (dims, values, {**own, **attributes})}, kept)


def _of_samples(source: ImageSource, samples: int) -> dict[str, xr.DataArray]:
    """Return what the root of a store says of each of its images of unequal size."""
    root = open_store(source.path)
    return {str(name): values.load() for name, values in root.coords.items() if values.shape == (samples,)}


def _provenance(plan: Plan) -> dict[str, Any]:
    models = [Path(path) for path in plan.job.model.paths]
    digests = [hashlib.sha256(model.read_bytes()).hexdigest() for model in models]
    one = len(models) == 1
    return {
        "title": f"Predicted by {models[0].name if one else f'{len(models)} networks'}",
        "model": str(models[0]) if one else list(map(str, models)),
        "model_sha256": digests[0] if one else digests,
        "variables": [source.name for source in plan.images[0]],
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "menndl_dask": __version__,
    }


def _write(dataset: xr.Dataset, target: str, group: str) -> None:
    with warnings.catch_warnings():
        # names of classes and samples are strings, of which Zarr 3 has no final specification yet
        warnings.filterwarnings("ignore", message=".*Zarr V3 specification.*")
        dataset.to_zarr(
            target, group=group or None, mode="w" if not group else "a", compute=False, consolidated=False,
            zarr_format=3,
        )  # fmt: skip


def write_positions(store: Path, distance: int) -> str:
    """Write a table of the objects in predicted maps beside their store; return a line with its path and their number.

    Classes give the middles of connected regions, values of pixels the peaks of a heat map. An image is in memory as a
    whole.
    """
    root = open_store(str(store))
    files = root["file"].values.tolist() if "file" in root.coords else []
    rows: list[tuple[str, list[Position]]] = []
    axes: tuple[str, ...] = ()
    by_class = False
    for array in _maps(store, root):
        classes, last = array.attrs.get("classes"), array.dims[-1:] == ("value",)
        by_class = classes is not None
        maps = array.isel(value=0) if last else array
        axes = tuple(str(dim) for dim in maps.dims if dim != "sample")
        for values in maps if "sample" in maps.dims else (maps,):
            found = (
                peaks(values.values, distance) if classes is None
                else middles(values.values, classes, array.attrs.get("fill"))
            )  # fmt: skip
            number = len(rows)
            rows.append((str(files[number]) if number < len(files) else str(number), found))
    target = store.with_suffix(".csv")
    write_text(target, table(rows, "file" if files else "sample", axes, "class" if by_class else "height"))
    return f"positions: {sum(len(found) for _, found in rows):,} in {target}"


def _maps(store: Path, root: xr.Dataset) -> Iterator[xr.DataArray]:
    """Yield the predictions for pixels: all, or those of each image where sizes differ."""
    if "prediction" in root:
        yield root["prediction"]
        return
    for folder in sorted((store / SAMPLES).iterdir()):
        if folder.is_dir():
            group = f"{SAMPLES}/{folder.name}"
            yield xr.open_zarr(store, group=group, consolidated=False, mask_and_scale=False)["prediction"]
