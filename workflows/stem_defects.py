"""Evolve a network that finds the defects of a monolayer in electron-microscope images, pixel by pixel.

    python workflows/stem_defects.py
    python workflows/stem_defects.py --material ws2 --images 4000 --size 128 --epochs 12 --evaluations 500
    python workflows/stem_defects.py --size 512 --images 60 --dose 2 100 --blur 0.15 0.7

The images are simulated, so that every label is exact: noisy and distorted scanning transmission electron micrographs
of graphene with silicon dopants and vacancies, or of tungsten disulfide with sulfur vacancies and molybdenum on
tungsten sites. See docs/stem.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from stem_material import MATERIALS
from stem_scores import score
from stem_simulation import Microscope, write_images

from menndl_dask import Run, SearchSpace, UserError, open_problem, workflow
from menndl_dask.terminal import say

_LEARNING_RATE = 3e-3  # trainings are short: 1e-3 would be too small for all networks


def simulated(given: argparse.Namespace, microscope: Microscope, seed: int, directory: Path) -> Path:
    """Simulate images in a directory, unless they exist."""
    if given.images < 10:
        raise UserError(f"--images: expected at least 10, for samples in each split, got {given.images}")
    if given.size < 16:
        raise UserError(f"--size: expected at least 16 pixels, got {given.size}")
    ranges = {"dose": microscope.dose, "blur": microscope.source_size, "pixel": microscope.pixel_size}
    usual = {"dose": Microscope().dose, "blur": Microscope().source_size, "pixel": Microscope().pixel_size}
    other = "".join(f"-{name}{low:g}to{high:g}" for name, (low, high) in ranges.items() if (low, high) != usual[name])
    path = directory / f"{given.material}-{given.images}x{given.size}{other}-seed{seed}.zarr"
    return write_images(
        path, MATERIALS[given.material], images=given.images, size=given.size, seed=seed, microscope=microscope
    )


def microscope_of(given: argparse.Namespace) -> Microscope:
    """Return the microscope with the ranges that the user gave."""
    for name, least in (("dose", 0.1), ("blur", 0.0), ("pixel_size", 0.02)):
        low, high = getattr(given, name)
        if not (least <= low <= high and math.isfinite(high)):
            flag = name.replace("_", "-")
            raise UserError(f"--{flag}: expected two numbers ≥ {least:g}, the lower one first, got {low:g} {high:g}")
    return Microscope(pixel_size=tuple(given.pixel_size), dose=tuple(given.dose), source_size=tuple(given.blur))


def add_range(parser: argparse.ArgumentParser, flag: str, usual: tuple[float, float], text: str) -> None:
    """Add an option for the lowest and the highest value of a range."""
    text = f"{text} (default: {usual[0]:g} {usual[1]:g})"
    parser.add_argument(flag, type=float, nargs=2, default=usual, metavar=("LOW", "HIGH"), help=text)


def parser() -> argparse.ArgumentParser:
    """Return the options of the command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--material", choices=sorted(MATERIALS), default="graphene", help="default: graphene")
    found.add_argument("--images", type=int, default=224, metavar="N", help="images to simulate (default: 224)")
    found.add_argument("--size", type=int, default=48, metavar="PIXELS", help="pixels a side (default: 48)")
    usual = Microscope()
    add_range(found, "--dose", usual.dose, "electrons at the peak of a host atom, from and to")
    add_range(found, "--blur", usual.source_size, "standard deviation of the electron source in Å, from and to")
    add_range(found, "--pixel-size", usual.pixel_size, "Å, from and to")
    text = "new frames at each dose and blur for the scores at the end; 0: no scores (default: 5)"
    found.add_argument("--score-frames", type=int, default=5, metavar="N", help=text)
    defaults = {"epochs": 8, "batch_size": 8, "learning_rate": _LEARNING_RATE, "retrain": 2.0}
    workflow.add_options(found, run="runs/stem", evaluations=24, **defaults)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the workflow with the options of the command line."""
    given = parser().parse_args(arguments)
    options, microscope = workflow.Options.read(given), microscope_of(given)
    if given.score_frames < 0:
        raise UserError(f"--score-frames: expected a number ≥ 0, got {given.score_frames}")
    options.run.mkdir(parents=True, exist_ok=True)
    data = simulated(given, microscope, options.seed, options.run)
    problem = open_problem(
        data, task="segmentation", budget=options.budget, augmentation=options.augmentation,
        seed=options.seed,
    )  # fmt: skip
    # large enough for the small U-Net, which the search starts with; its FLOPs grow with the image or the patch
    pixels = math.prod(problem.facts.input_shapes[0])
    space = SearchSpace.image(problem, maximum=20, max_parameters=500_000, max_flops=85e3 * pixels)
    status = workflow.main_job(problem, space, options)
    if status == 0 and given.score_frames and not options.detach and options.island is None:
        seen, side = MATERIALS[given.material], problem.facts.input_shapes[0][0]
        say("", *score(Run(options.run), seen, microscope, given.score_frames, side, options.seed))
        say(f"scores: {options.run / 'scores.csv'}")
    return status


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
