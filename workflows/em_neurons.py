"""Evolve a network that finds the boundaries of neurons in volumes of electron microscopy, voxel by voxel.

    python workflows/em_neurons.py --data gala_flyem_volumes
    python workflows/em_neurons.py --data cremi --test sample_C_20160501 --hours 12

The data are volumes as CREMI, SNEMI3D, ISBI 2012 or FlyEM publish them: see neuron_volumes.py and docs/em_neurons.md.
At the end the best networks, the standard network and a random forest are scored on the test volume: by their
boundaries, and by the neurons that one fixed watershed makes of them. It needs scikit-image.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import zarr

from menndl_dask import Problem, Run, SearchSpace, UserError, cost_of, open_problem, predict, workflow
from menndl_dask.search.comparison import trained_path
from menndl_dask.space.standard.standard import standard_network
from menndl_dask.terminal import say
from menndl_dask.text import TextTable

if TYPE_CHECKING:
    from neuron_volumes import Volume

_LARGER = 3.0  # times the FLOPs of the standard network that a network may have
_MOST_PARAMETERS = 2e6


def networks(run: Run) -> Iterator[tuple[str, Path]]:
    """Yield name and file of the networks that a run has trained to compare them, the best first."""
    ended = sorted((c for c in run.comparisons if c.result.succeeded), key=lambda c: -(c.result.fitness or 0))
    for compared in [*ended, *run.contenders]:
        path = trained_path(run.path, compared)
        if path.is_file():
            yield compared.name + (f", seed {compared.seed}" if compared.seed is not None else ""), path
    if not ended:
        yield "best network", run.path / "best.keras"


def predicted(model: Path, tested: Sequence[Volume], folder: Path) -> list[np.ndarray]:
    """Return the probability of boundaries in volumes by a trained network."""
    from neuron_volumes import write_volumes

    store = folder / "test.zarr"
    if not store.exists():
        write_volumes([], tested, store)
    with TemporaryDirectory(dir=folder) as temporary:
        group = zarr.open_group(predict(model, store, Path(temporary) / "p.zarr", probabilities=True), mode="r")
        each = [sample["probability"][..., 1] for _, sample in sorted(group["samples"].groups())]
    if not tested[0].planar:
        return each
    starts = np.cumsum([0, *(len(volume.image) for volume in tested)])
    return [np.stack(each[start:stop]) for start, stop in pairwise(starts.tolist())]


def compare(run: Run, learnt: Sequence[Volume], tested: Sequence[Volume], seed: int) -> None:
    """Score the networks of a run and a random forest on the test volumes; print and write the table."""
    from neuron_scores import SCORES, forest_probabilities, score

    rows = []
    with TemporaryDirectory(dir=run.path) as folder:
        for name, path in networks(run):
            rows.append((name, score(tested, predicted(path, tested, Path(folder)))))
    rows.append(("random forest", score(tested, forest_probabilities(learnt, tested, seed))))
    rows.append(("the true boundaries", score(tested, [(v.boundary == 1).astype("float32") for v in tested])))
    head = ["", *SCORES]
    title = "Test volume, with neurons after one fixed watershed (higher is better; VI and Rand: lower is better):"
    say(TextTable(head, [[name, *(f"{value:.3f}" for value in values)] for name, values in rows], title=title))
    with (run.path / "neurons.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["network", *SCORES], *([name, *values] for name, values in rows)])
    say(f"the table: {run.path / 'neurons.csv'}")


def space_of(problem: Problem) -> SearchSpace:
    """Return networks of up to three times the cost of the standard network."""
    cost = cost_of(standard_network(problem)[1], problem)
    return SearchSpace.image(problem, max_parameters=_MOST_PARAMETERS, max_flops=_LARGER * cost.flops_forward)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, required=True, metavar="PATH", help="a folder, or a file of CREMI")
    text = "the volume to test on (default: test…, the last one, or the last 15 %% of a single one)"
    found.add_argument("--test", metavar="NAME", help=text)
    text = "voxels of a patch along each axis (default: what suits the volumes)"
    found.add_argument("--patch", type=int, nargs="+", metavar="N", help=text)
    defaults = {"steps": 200, "batch_size": 4, "augment": "flip", "retrain": 2.0, "time_limit": 1800.0}
    workflow.add_options(found, run="runs/em_neurons", evaluations=30, **defaults)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the workflow with the options of the command line."""
    given = parser().parse_args(arguments)
    options = workflow.Options.read(given)
    try:
        from neuron_volumes import divide, read_volumes, write_volumes
    except ImportError as error:
        if "skimage" not in str(error):
            raise
        needed = 'needs scikit-image, which is not installed: pip install "menndl_dask[em]"'
        raise UserError(f"em_neurons.py: {needed}") from None
    volumes, notes = read_volumes(given.data)
    learnt, tested, said = divide(volumes, given.test)
    for line in (*notes, said):
        say(line)
    options.run.mkdir(parents=True, exist_ok=True)
    store = options.run / "volumes.zarr"
    made_with = f"{given.data}, {said}"
    if not store.exists():
        write_volumes(learnt, tested, store, made_with)
    elif (found := zarr.open_group(store, mode="r").attrs.get("made_with")) != made_with:
        raise UserError(f"{store}: was made with {found}, now {made_with}: choose another --run")
    patch = given.patch[0] if given.patch and len(given.patch) == 1 else given.patch
    problem = open_problem(
        store, task="segmentation", budget=options.budget, augmentation=options.augmentation, patch=patch,
        seed=options.seed,
    )  # fmt: skip
    status = workflow.main_job(problem, space_of(problem), options)
    if (options.run / "best.keras").is_file() and not options.detach:
        compare(Run(options.run), learnt, tested, options.seed)
    return status


if __name__ == "__main__":
    sys.exit(workflow.guarded(main))
