"""Evolve a network for the handwritten digits of scikit-learn: the fast workflow, a minute or two.

    python workflows/digits.py
    python workflows/digits.py --evaluations 200 --workers 4 --run runs/digits-200

1,797 images of 8 × 8 pixels, ten classes (Alpaydin & Kaynak 1998, UCI Machine Learning Repository).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from sklearn.datasets import load_digits

from menndl_dask import SearchSpace, open_problem, workflow


def write_digits(path: Path) -> Path:
    """Write the digits as a labelled data set in Zarr, unless it exists."""
    if not path.exists():
        digits = load_digits()
        images = (digits.images / 16.0).astype("float32")[..., np.newaxis]
        labels = xr.Variable(("sample",), digits.target.astype("uint8"), {"classes": [str(n) for n in range(10)]})
        dataset = xr.Dataset({"image": (("sample", "y", "x", "channel"), images), "label": labels})
        partial = path.with_name(path.name + ".partial")
        dataset.chunk(sample=256).to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        partial.rename(path)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Run the workflow with the options of the command line."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    workflow.add_options(parser, run="runs/digits", evaluations=40, epochs=8)
    options = workflow.Options.read(parser.parse_args(arguments))
    options.run.mkdir(parents=True, exist_ok=True)
    data = write_digits(options.run / "digits.zarr")
    problem = open_problem(
        data, task="classification", budget=options.budget, augmentation=options.augmentation,
        seed=options.seed,
    )  # fmt: skip
    space = SearchSpace.image(problem, max_parameters=200_000)
    return workflow.main_job(problem, space, options)


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
