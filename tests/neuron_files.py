"""Tiny volumes of neurons in the layouts of CREMI, SNEMI3D, ISBI 2012 and FlyEM: dark walls between bright blocks."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import tifffile


def neurons(size: tuple[int, int, int] = (16, 40, 40), side: int = 10) -> np.ndarray:
    """Return blocks of voxels with a number each, from 1 on."""
    z, y, x = (np.arange(length) // side for length in size)
    return (1 + z[:, None, None] * 100 + y[:, None] * 10 + x).astype("uint32")


def image_of(numbers: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return an image that is dark where the number changes along an axis."""
    wall = np.zeros(numbers.shape, bool)
    for axis in range(3):
        step = np.diff(numbers.astype(int), axis=axis, append=np.take(numbers, [-1], axis)) != 0
        wall |= step | np.roll(step, 1, axis)
    noise = np.random.default_rng(seed).normal(0, 10, numbers.shape)
    return (np.where(wall, 60, 180) + noise).clip(0, 255).astype("uint8")


def write_cremi(path: Path, numbers: np.ndarray) -> Path:
    """Write one file of CREMI, with a few voxels that have no label."""
    with h5py.File(path, "w") as file:
        raw = file.create_dataset("volumes/raw", data=image_of(numbers))
        ids = file.create_dataset("volumes/labels/neuron_ids", data=numbers.astype("uint64"))
        ids[0, :2, :2] = 2**64 - 2
        raw.attrs["resolution"] = ids.attrs["resolution"] = (40.0, 4.0, 4.0)
    return path


def write_stacks(folder: Path, image: str, label: str, numbers: np.ndarray, labels: np.ndarray) -> Path:
    """Write the TIFF stacks of SNEMI3D or ISBI 2012."""
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / image, image_of(numbers), photometric="minisblack")
    tifffile.imwrite(folder / label, labels, photometric="minisblack")
    return folder


def write_flyem(folder: Path, size: tuple[int, int, int] = (10, 32, 40)) -> Path:
    """Write two volumes, one to train on and one to test on."""
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(("train", "test")):
        numbers = neurons(size).astype("int32")
        np.savez(folder / f"{name}.npz", image=image_of(numbers, seed), segmentation=numbers)
    return folder
