"""What the fused Adam of `menndl_dask.training.optimizer` gains over Keras's own, in whole trainings with TensorFlow.

    python benchmarks/optimizer.py --networks 8 --turns 2

The first networks of a search, on the digits workflow's images and on those of the STEM workflow. Each is built and
trained for the workflow's epochs, once with either optimiser, in turns, on one thread. Importing and decoding do not
count; validations are not taken.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[_name] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflows"))

import keras  # noqa: E402
import numpy as np  # noqa: E402
from digits import write_digits  # noqa: E402
from stem_defects import simulated  # noqa: E402

from menndl_dask import Budget, Evolution, Genome, Problem, SearchSpace, decode, open_problem  # noqa: E402
from menndl_dask.data.data import open_staged, stage  # noqa: E402
from menndl_dask.search.initial_networks import STANDARD, initial_networks  # noqa: E402
from menndl_dask.training.loop import make_loop  # noqa: E402
from menndl_dask.training.loss import Loss  # noqa: E402
from menndl_dask.training.optimizer import FusedAdam  # noqa: E402

_KINDS = {"Keras's": keras.optimizers.Adam, "fused": FusedAdam}


def problems(folder: Path) -> Iterator[tuple[str, Problem, SearchSpace]]:
    """Yield the problems of two workflows with their spaces."""
    digits = open_problem(write_digits(folder / "digits.zarr"), task="classification", budget=Budget(epochs=8))
    yield "digits, 8 × 8 pixels", digits, SearchSpace.image(digits, max_parameters=200_000)
    budget = Budget(epochs=8, batch_size=8, learning_rate=3e-3)
    stem = open_problem(simulated("graphene", 224, 48, 0, folder), task="segmentation", budget=budget)
    space = SearchSpace.image(stem, maximum=20, max_parameters=500_000, max_flops=85e3 * 48**2)
    yield "STEM, 48 × 48 pixels", stem, space


def trained(kind: type[keras.optimizers.Optimizer], genome: Genome, problem: Problem, data: Path) -> np.ndarray:
    """Return the seconds and the processor seconds of a training."""
    samples, budget = open_staged(data, "train"), problem.budget
    model = decode(genome, problem, 0)
    before = time.perf_counter(), time.process_time()
    optimizer = kind(budget.learning_rate)
    loop = make_loop(
        model, Loss(problem), optimizer, samples.images, samples.labels, budget.batch_size, memory_bytes=1e9
    )
    for _ in range(round(budget.epochs or 1)):
        loop.run(np.arange(len(samples.labels)), time.time() + 3600)
    seconds = time.perf_counter() - before[0], time.process_time() - before[1]
    keras.backend.clear_session()
    return np.array(seconds)


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=8, metavar="N")
    parser.add_argument("--turns", type=int, default=2, metavar="N")
    given = parser.parse_args()
    sys.stdout.write("| images | networks | Keras's, s | fused, s | ratio | ratio of processor time |\n")
    sys.stdout.write("| --- | ---: | ---: | ---: | ---: | ---: |\n")
    with tempfile.TemporaryDirectory() as folder:
        for name, problem, space in problems(Path(folder)):
            data = stage(problem, Path(folder) / "staged" / name.partition(",")[0])
            evolution = Evolution(space, seed=1, initial=initial_networks((STANDARD,), problem))
            seconds: dict[str, list[np.ndarray]] = {kind: [] for kind in _KINDS}
            for number in range(given.networks):
                genome = evolution.ask().genome
                runs: dict[str, list[np.ndarray]] = {kind: [] for kind in _KINDS}
                for turn in range(given.turns):
                    for kind in list(_KINDS)[:: 1 if (number + turn) % 2 else -1]:
                        runs[kind].append(trained(_KINDS[kind], genome, problem, data))
                for kind, found in runs.items():
                    seconds[kind].append(np.min(found, axis=0))
            theirs, ours = (np.array(found) for found in seconds.values())
            ratio = np.median(ours / theirs, axis=0)
            times = f"{theirs[:, 0].sum():.1f} | {ours[:, 0].sum():.1f}"
            sys.stdout.write(f"| {name} | {given.networks} | {times} | {ratio[0]:.2f} | {ratio[1]:.2f} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
