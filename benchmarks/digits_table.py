"""Train every network of a small space on the handwritten digits, so that optimizers can be compared on real results.

    python -m benchmarks.digits_table
    python -m benchmarks.digits_table --table mine.csv --seeds 0 1 2

The table that comes with the benchmark, `digits_table.csv`, was made by the first; its first line says with what.

Each network is a convolution of single pixels and four steps: a convolution, a residual one with batch normalisation,
a separable one, or pooling, all of one width; the head is the task's. Each is evaluated by `menndl_dask.evaluate` with
every seed. A line of the table is one training: its width, the initials of its steps, the seed, the accuracy on 977
validation images (nothing where it failed), the CPU seconds of the whole evaluation, parameters and FLOPs. The same
command carries on where it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import xarray as xr

from benchmarks.landscapes import DIGITS, Step, Width, read_digits
from menndl_dask import Budget, Limits, Problem, evaluate, open_problem
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layer import Layer
from menndl_dask.genome.layers import Activation, Convolution, Pooling, SeparableConvolution

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflows"))

from digits import write_digits

STEPS = 4
_TRAIN, _VALIDATION = 800, 977  # of 1,797; many to validate on, so that accuracy is fine-grained
_BUDGET = Budget(epochs=6, batch_size=32, learning_rate=0.01).without_early_stopping()


def network(kernels: int, steps: str) -> Genome:
    """Return the build instructions of a network of the table.

    >>> [type(layer).__name__ for layer in network(8, "cp").layers]
    ['Convolution', 'Convolution', 'Pooling']
    """
    layers: list[Layer] = [Convolution(kernels, kernel_size=(1,))]
    for step in steps:
        if step == "c":
            layers.append(Convolution(kernels))
        elif step == "r":
            layers += [Convolution(kernels, normalisation="batch"), Activation("linear", inputs=(1, 2), join="add")]
        elif step == "s":
            layers.append(SeparableConvolution(kernels, kernel_size=(5,)))
        else:
            layers.append(Pooling())
    return Genome(tuple(layers))


def problem(folder: Path) -> Problem:
    """Write the digits with a split of their own, and return what is to be learnt."""
    data = write_digits(folder / "digits.zarr")
    dataset = xr.open_zarr(data, consolidated=False).load()
    splits = np.full(dataset.sizes["sample"], "test", dtype=object)
    order = np.random.default_rng(0).permutation(len(splits))
    splits[order[:_TRAIN]], splits[order[_TRAIN : _TRAIN + _VALIDATION]] = "train", "validation"
    dataset["split"] = ("sample", splits)
    target = folder / "split.zarr"
    dataset.drop_encoding().to_zarr(target, mode="w", zarr_format=3, consolidated=False)
    return open_problem(target, task="classification", budget=_BUDGET)


def generate(table: Path, networks: Sequence[tuple[int, str, int]]) -> int:
    """Train what the table lacks and add it, line by line; return how many trainings that were."""
    done = {(row.kernels, row.steps, row.seed) for row in read_digits(table)} if table.exists() else set()
    missing = [row for row in networks if row not in done]
    if not missing:
        return 0
    if not table.exists():
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(f"# {_provenance()}\nkernels,steps,seed,fitness,cpu_seconds,parameters,flops\n", "utf-8")
    text = table.read_text("utf-8")
    if not text.endswith("\n"):  # it was killed while it wrote a line
        table.write_text(text[: text.rfind("\n") + 1], "utf-8")
    with tempfile.TemporaryDirectory() as folder, table.open("a", encoding="utf-8") as file:
        task = problem(Path(folder))
        evaluate(Individual(0, network(*missing[0][:2])), task, Limits(300))  # starts the trainer
        for number, (kernels, steps, seed) in enumerate(missing, 1):
            before = _cpu_seconds()
            result = evaluate(Individual(0, network(kernels, steps)), task, Limits(300), seed=seed)
            fitness = "" if result.fitness is None else f"{result.fitness:.4f}"
            costs = f"{result.costs.get('parameters', 0):.0f},{result.costs.get('flops_forward', 0):.0f}"
            file.write(f"{kernels},{steps},{seed},{fitness},{_cpu_seconds() - before:.2f},{costs}\n")
            file.flush()
            sys.stderr.write(f"\r{number} of {len(missing)} trained")
            sys.stderr.flush()
    sys.stderr.write("\n")
    return len(missing)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and all that came of it: wall time would depend on who else works here."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def _provenance() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("menndl_dask", "keras", "tensorflow", "scikit-learn"))
    day = datetime.now(UTC).date()
    return f"trained from {day} on by benchmarks/digits_table.py; {platform.machine()}, {versions}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the command line describes."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=DIGITS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--kernels", type=int, nargs="+", default=list(Width.domains()["kernels"].values))  # type: ignore[attr-defined]
    given = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    initials = [name[0] for name in Step.domains()["operation"].values]  # type: ignore[attr-defined]
    steps = ["".join(chosen) for chosen in itertools.product(initials, repeat=STEPS)]
    # all networks once before any a second time, so that a table that was cut short is of use
    networks = [(kernels, each, seed) for seed in given.seeds for kernels in given.kernels for each in steps]
    generate(given.table, networks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
