"""Find the atoms and defects in frames of your microscope with a network that was trained on simulated ones.

    python workflows/stem_frames.py runs/stem frame.dm4 found
    python workflows/stem_frames.py runs/stem movie.hspy found --resample

Reads what menndl convert reads: .dm3, .dm4, .emd and .hspy files (pip install rosettasciio), TIFF, MRC, … Each frame is
scaled as the simulated images are. The folder `found` then has `frames.zarr`, `predicted.zarr` (class of each pixel),
and `atoms.csv` (class and position of each atom). See docs/stem.md. Runs on the driver.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import normalize

import numpy as np
import xarray as xr
from stem_scores import find_atoms
from stem_simulation import Floats, scaled

from menndl_dask import Problem, UserError, predict, workflow
from menndl_dask.data.formats.conversion import convert
from menndl_dask.data.resize import resize
from menndl_dask.prediction.ensemble import run_of
from menndl_dask.terminal import say
from menndl_dask.text import counted

_ANGSTROM = {"Å": 1.0, "A": 1.0, "angstrom": 1.0, "nm": 10.0, "pm": 0.01, "μm": 1e4, "um": 1e4, "m": 1e10}  # NFKC


def read_frames(source: Path, given: float | None) -> tuple[list[Floats], float]:
    """Return the frames ``(y, x)`` of a file, and the size of a pixel in Å: as given, else as the file says it."""
    with TemporaryDirectory() as folder:
        store = convert(source, Path(folder) / "frames.zarr")
        dataset = xr.open_zarr(store, consolidated=False, chunks=None)
        if "image" not in dataset or not {"y", "x"} <= set(dataset["image"].dims):
            raise UserError(f"{source}: expected frames of one size with the dimensions y and x, got other images")
        image = dataset["image"]
        if image.sizes.get("channel", 1) > 1:
            raise UserError(f"{source}: expected one channel, got {image.sizes['channel']}")
        image = image.squeeze("channel") if "channel" in image.dims else image
        image = image if "sample" in image.dims else image.expand_dims("sample")
        frames = list(image.transpose("sample", "y", "x").to_numpy().astype(float))
    if given is not None:
        return frames, given
    sizes, unit = image.attrs.get("spacing", ()), normalize("NFKC", str(image.attrs.get("spacing_unit", "")))
    if not sizes or unit not in _ANGSTROM:
        got = f"sizes in the unit {unit!r}" if unit else "none"
        ask = "give it in Å: --pixel-size 0.14"
        raise UserError(f"{source}: expected the size of a pixel in Å or nm, got {got}; {ask}")
    if max(sizes) > 1.02 * min(sizes):
        raise UserError(f"{source}: expected square pixels, got {' × '.join(f'{size:g}' for size in sizes)} {unit}")
    return frames, float(sizes[0]) * _ANGSTROM[unit]


def trained_range(problem: Problem) -> tuple[float, float]:
    """Return the smallest and the largest size of a pixel of the images that a network was trained on, Å."""
    if not Path(problem.data).exists():
        raise UserError(f"{problem.data}: expected the images of the run, to know their pixels; found no such store")
    dataset = xr.open_zarr(problem.data, consolidated=False, chunks=None)
    if "pixel_size" not in dataset.coords:
        raise UserError(f"{problem.data}: expected a run of workflows/stem_defects.py, got images without pixel_size")
    sizes = dataset["pixel_size"].to_numpy()
    return float(sizes.min()), float(sizes.max())


def fitted(frames: Sequence[Floats], size: float, trained: tuple[float, float], resample: bool) -> tuple[Floats, float]:
    """Return the frames scaled as simulated ones ``(frame, y, x)``, resampled if asked, and the size of a pixel, Å."""
    low, high = trained
    middle = (low + high) / 2
    seen = f"the network was trained on {low:.3g} to {high:.3g} Å"
    if resample:
        pixels = [max(1, round(side * size / middle)) for side in frames[0].shape]
        size, before = size * frames[0].shape[0] / pixels[0], size
        say(f"resampled: from pixels of {before:.3g} Å to {size:.3g} Å, {' × '.join(map(str, pixels))}; {seen}")
        frames = [resize(frame[..., np.newaxis], pixels)[..., 0] for frame in frames]
    elif not 0.98 * low <= size <= 1.02 * high:
        say(f"note: a pixel is {size:.3g} Å, and {seen}: --resample resamples the frames to {middle:.3g} Å")
    else:
        say(f"a pixel is {size:.3g} Å; {seen}")
    return np.stack([scaled(frame) for frame in frames]), size


def find(network: Path, frames: Floats, size: float, folder: Path) -> Counter[str]:
    """Predict the frames, write the atoms of all as ``atoms.csv``, and return how many of each class there are."""
    store = folder / "frames.zarr"
    attributes = {"spacing": [size, size], "spacing_unit": "Å"}
    image = (("sample", "y", "x", "channel"), frames[..., np.newaxis].astype("float32"), attributes)
    xr.Dataset({"image": image}).to_zarr(store, zarr_format=3, consolidated=False)
    predict(network, store, folder / "predicted.zarr")
    labels = xr.open_zarr(folder / "predicted.zarr", consolidated=False, chunks=None)["prediction"]
    classes = list(labels.attrs["classes"])
    counts: Counter[str] = Counter()
    with (folder / "atoms.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["frame", "class", "y_angstrom", "x_angstrom", "at_edge"])
        for number, label in enumerate(labels.to_numpy()):
            found = find_atoms(label, size)
            for (y, x), kind, inside in zip(found.places, found.kinds, found.counted, strict=True):
                rows.writerow([number, classes[kind], f"{y:.3f}", f"{x:.3f}", int(not inside)])
                counts[classes[kind]] += 1
    return counts


def parser() -> argparse.ArgumentParser:
    """Return the options of the command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("run", type=Path, help="run of workflows/stem_defects.py, or a network in it")
    found.add_argument("source", type=Path, help="frames of a microscope")
    found.add_argument("target", type=Path, help="folder to write; must not exist")
    found.add_argument("--pixel-size", type=float, metavar="Å", help="size of a pixel (default: as the file says it)")
    text = "resample the frames to the middle of the pixel sizes that the network was trained on"
    found.add_argument("--resample", action="store_true", help=text)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the script with the options of the command line."""
    given = parser().parse_args(arguments)
    if given.pixel_size is not None and not 0 < given.pixel_size < 100:
        raise UserError(f"--pixel-size: expected a number of Å > 0 and < 100, got {given.pixel_size}")
    if given.target.exists():
        raise UserError(f"{given.target}: expected a new name; this one exists and is not overwritten")
    run = run_of(given.run.absolute())
    if run is None or run.problem is None:
        raise UserError(f"{given.run}: expected a run of workflows/stem_defects.py or a network in one, found none")
    frames, size = read_frames(given.source, given.pixel_size)
    images, size = fitted(frames, size, trained_range(run.problem), given.resample)
    given.target.mkdir(parents=True)
    counts = find(given.run, images, size, given.target)
    found = ", ".join(f"{number} {name}" for name, number in counts.items()) or "no atom"
    say(f"found in {counted(len(images), 'frame')}: {found}")
    say(f"written: {given.target / 'atoms.csv'}")
    return 0


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
