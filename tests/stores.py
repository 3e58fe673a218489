"""Small labelled data sets in Zarr, for tests that read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

CLASSES = ["round", "square", "line"]


def classification(samples: int = 60, channels: int = 2, seed: int = 0) -> xr.Dataset:
    """Return images whose brightness tells their class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % 3
    images = rng.normal(labels[:, None, None, None], 0.3, (samples, 8, 6, channels)).astype("float32")
    return dataset(images, labels.astype("int64"), classes=CLASSES)


def segmentation(samples: int = 24, seed: int = 0) -> xr.Dataset:
    """Return images whose bright pixels are of class 1, with a few pixels that are to be ignored."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((samples, 10, 12)) < 0.2).astype("uint8")
    images = (100 * labels[..., None] + rng.normal(20, 5, (samples, 10, 12, 1))).astype("int16")
    labels[:, 0, 0] = 255
    return dataset(images, labels, classes=["background", "spot"], fill=255)


def micrographs(samples: int = 8, seed: int = 0) -> xr.Dataset:
    """Return images that are larger than patches, with bright blocks of class 1."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.random((samples, 12, 15)) < 0.1, np.ones((1, 8, 8))).astype("uint8")
    images = (80 * labels[..., None] + rng.normal(20, 5, (samples, 96, 120, 1))).astype("float32")
    return dataset(images, labels, classes=["background", "grain"])


def regression(samples: int = 40, values: int = 2, seed: int = 0) -> xr.Dataset:
    """Return images with their mean and its negative as the values to predict."""
    rng = np.random.default_rng(seed)
    level = rng.normal(5, 2, samples)
    images = rng.normal(level[:, None, None, None], 0.1, (samples, 6, 6, 1)).astype("float32")
    labels = np.stack([level * (-1) ** v for v in range(values)], axis=1)
    return xr.Dataset({"image": (("sample", "y", "x", "channel"), images), "label": (("sample", "value"), labels)})


def dataset(images: np.ndarray, labels: np.ndarray, **attributes: Any) -> xr.Dataset:
    """Return images and labels under the usual names."""
    dims = ("sample", "y", "x", "channel")
    return xr.Dataset({"image": (dims, images), "label": (dims[: labels.ndim], labels, attributes)})


def write(data: xr.Dataset, path: Path, chunk: int = 7, side: int | None = None) -> Path:
    """Write a data set as Zarr, in chunks that fit nothing evenly, so many pixels a side."""
    chunks = {
        name: {"chunks": tuple(chunk if d == "sample" else min(s, side or s) for d, s in values.sizes.items())}
        for name, values in data.items()
    }
    data.to_zarr(path, zarr_format=3, consolidated=False, encoding=chunks)
    return path


def with_split(data: xr.Dataset, *names: str) -> xr.Dataset:
    """Return the data with a coordinate ``split`` that repeats these names."""
    column = np.resize(np.array(names, dtype=object), data.sizes["sample"])
    return data.assign_coords(split=("sample", column))


def volume(size: tuple[int, ...], seed: int = 0) -> xr.Dataset:
    """Return one volume without a sample dimension, whose bright voxels are of class 1."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 0.2).astype("uint8")
    images = (100 * labels + rng.normal(20, 5, size)).astype("int16")
    dims = ("z", "y", "x")[-len(size) :]
    return xr.Dataset({"image": (dims, images), "label": (dims, labels, {"classes": ["background", "spot"]})})


def large_segmentation(samples: int, side: int, seed: int = 0) -> xr.Dataset:
    """Return images whose bright pixels are of class 1, as wide as high."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((samples, side, side)) < 0.2).astype("uint8")
    images = (100 * labels[..., None] + rng.normal(20, 5, (samples, side, side, 1))).astype("int16")
    return dataset(images, labels, classes=["background", "spot"])


def unequal(
    path: Path,
    samples: int,
    *,
    size: tuple[int, int] = (20, 30),
    label: np.ndarray | None = None,
    split: list[str] | None = None,
    seed: int = 0,
) -> tuple[Path, list[np.ndarray], list[np.ndarray]]:
    """Write images of which each is a pixel higher than the one before, and return them and the labels of pixels."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    coords = {} if split is None else {"split": ("sample", np.array(split, dtype=object))}
    root = xr.Dataset({} if label is None else {"label": (("sample",), label)}, coords)
    root.to_zarr(path, zarr_format=3, consolidated=False)
    for number in range(samples):
        truth = (rng.random((size[0] + number, size[1])) < 0.3).astype("uint8")
        image = (100 * truth + rng.normal(50, 5, truth.shape)).astype("uint8")
        each = {"image": (("y", "x"), image)} | ({} if label is not None else {"label": (("y", "x"), truth)})
        xr.Dataset(each).to_zarr(path, group=f"samples/{number:05}", zarr_format=3, consolidated=False, mode="a")
        images.append(image)
        labels.append(truth)
    return path, images, labels
