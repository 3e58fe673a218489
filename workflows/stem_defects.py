"""Evolve a network that finds the defects of a monolayer in electron-microscope images, pixel by pixel.

    python workflows/stem_defects.py
    python workflows/stem_defects.py --material ws2 --images 4000 --size 128 --epochs 12 --evaluations 500

The images are simulated, so that every label is exact: noisy and distorted scanning transmission electron micrographs
of graphene with silicon dopants and vacancies, or of tungsten disulfide with sulfur vacancies and molybdenum on
tungsten sites. See docs/stem.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stem_material import MATERIALS
from stem_simulation import write_images

from menndl_dask import SearchSpace, UserError, open_problem, workflow

_LEARNING_RATE = 3e-3  # trainings are short: 1e-3 would be too small for all networks


def simulated(material: str, images: int, size: int, seed: int, directory: Path) -> Path:
    """Simulate images in a directory, unless they exist."""
    if images < 10:
        raise UserError(f"--images: expected at least 10, for samples in each split, got {images}")
    if size < 16:
        raise UserError(f"--size: expected at least 16 pixels, got {size}")
    path = directory / f"{material}-{images}x{size}-seed{seed}.zarr"
    return write_images(path, MATERIALS[material], images=images, size=size, seed=seed)


def main(arguments: list[str] | None = None) -> int:
    """Run the workflow with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--material", choices=sorted(MATERIALS), default="graphene", help="default: graphene")
    parser.add_argument("--images", type=int, default=224, metavar="N", help="images to simulate (default: 224)")
    parser.add_argument("--size", type=int, default=48, metavar="PIXELS", help="pixels a side (default: 48)")
    defaults = {"epochs": 8, "batch_size": 8, "learning_rate": _LEARNING_RATE, "retrain": 2.0}
    workflow.add_options(parser, run="runs/stem", evaluations=24, **defaults)
    given = parser.parse_args(arguments)
    options = workflow.Options.read(given)
    options.run.mkdir(parents=True, exist_ok=True)
    data = simulated(given.material, given.images, given.size, options.seed, options.run)
    problem = open_problem(
        data, task="segmentation", budget=options.budget, augmentation=options.augmentation,
        seed=options.seed,
    )  # fmt: skip
    # large enough for the small U-Net, which the search starts with; its FLOPs grow with the image
    space = SearchSpace.image(problem, maximum=20, max_parameters=500_000, max_flops=85e3 * given.size**2)
    return workflow.main_job(problem, space, options)


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
