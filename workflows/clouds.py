"""Evolve a network that finds clouds in Landsat 8 images.

    python workflows/clouds.py --data l8biome_patches.npz

The data are patches of the Landsat 8 cloud cover validation set "L8 Biome" (Foga et al. 2017, U.S. Geological Survey,
public domain) in one .npz file:

    image  (patch, band, y, x)  scaled integers
    scale  (band,)              physical value of 1
    label  (patch, y, x)        0 clear, 1 thick cloud, 2 shadow, 3 thin cloud
    split  (patch,)             train, val or test

Patches are cut into chips. All chips of a patch are in one split. Each pixel is cloud (thick or thin) or clear.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from menndl_dask import SearchSpace, UserError, open_problem, workflow

_FILL = 255
_CLOUD = (1, 3)
_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_ARRAYS = ("image", "label", "scale", "split")


def write_chips(source: Path, target: Path, chip: int) -> Path:
    """Cut the patches into chips and write them as a labelled data set in Zarr, unless it exists.

    Parameters
    ----------
    source
        The .npz file described above.
    target
        The Zarr store.
    chip
        Side of a chip, pixels.

    Raises
    ------
    UserError
        If the file does not exist or has another layout.
    """
    if target.exists():
        return target
    arrays = _read(source, chip)
    physical = arrays["image"].astype("float32") * arrays["scale"].astype("float32")[:, np.newaxis, np.newaxis]
    images = _cut(np.moveaxis(physical, 1, -1), chip)
    kinds = _cut(arrays["label"], chip)
    labels = np.where(kinds == _FILL, _FILL, np.isin(kinds, _CLOUD)).astype("uint8")
    number = len(images) // len(arrays["image"])
    splits = np.array([_SPLITS[str(s)] for s in np.repeat(arrays["split"], number)], dtype=object)
    dataset = xr.Dataset(
        {
            "image": (("sample", "y", "x", "channel"), images),
            "label": (("sample", "y", "x"), labels, {"classes": ["clear", "cloud"], "fill": _FILL}),
        },
        coords={"split": ("sample", splits), "patch": ("sample", np.repeat(np.arange(len(arrays["image"])), number))},
    )
    partial = target.with_name(target.name + ".partial")
    dataset.chunk(sample=number).to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
    partial.rename(target)
    return target


def _read(source: Path, chip: int) -> dict[str, np.ndarray]:
    if not source.is_file():
        raise UserError(f"{source}: expected an .npz file with patches, found no such file")
    with np.load(source) as file:
        missing = [name for name in _ARRAYS if name not in file]
        if missing:
            raise UserError(f"{source}: expected the arrays {', '.join(_ARRAYS)}, found no {', '.join(missing)}")
        arrays = {name: file[name] for name in _ARRAYS}
    if arrays["image"].shape[-1] % chip or arrays["image"].shape[-2] % chip:
        raise UserError(f"--chip: expected a divisor of {arrays['image'].shape[-2:]}, got {chip}")
    return arrays


def _cut(patches: np.ndarray, chip: int) -> np.ndarray:
    """Cut (patch, y, x, …) into (patch × chips, chip, chip, …), chips of a patch are consecutive."""
    patch, height, width, *rest = patches.shape
    rows, columns = height // chip, width // chip
    split = patches.reshape(patch, rows, chip, columns, chip, *rest)
    return np.moveaxis(split, 2, 3).reshape(patch * rows * columns, chip, chip, *rest)


def main(arguments: list[str] | None = None) -> int:
    """Run the workflow with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="PATH", help="the .npz file with the patches")
    parser.add_argument("--chip", type=int, default=64, metavar="PIXELS", help="pixels a side of a chip (default: 64)")
    workflow.add_options(parser, run="runs/clouds", evaluations=40, epochs=4)
    given = parser.parse_args(arguments)
    options = workflow.Options.read(given)
    options.run.mkdir(parents=True, exist_ok=True)
    data = write_chips(given.data, options.run / f"clouds-{given.chip}.zarr", given.chip)
    problem = open_problem(
        data, task="segmentation", ignore=_FILL, budget=options.budget, augmentation=options.augmentation,
        seed=options.seed,
    )  # fmt: skip
    space = SearchSpace.image(problem, max_parameters=500_000, max_flops=150e6)
    return workflow.main_job(problem, space, options)


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
