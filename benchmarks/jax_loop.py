"""Times the steps of JAX's compiled loop beside those that Keras takes one by one. In a process with that backend.

    KERAS_BACKEND=jax python -m benchmarks.jax_loop

Both loops train the same networks in turn, several rounds of some steps, and the medians are printed. The time of a
processor is less disturbed by other programs than that of a clock, which is printed too.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence

import numpy as np

from menndl_dask.data.staged_samples import Samples
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.keras_model.decoder import decode
from menndl_dask.genome.layers import Convolution, FullyConnected, Pooling
from menndl_dask.problem import Budget, Facts, Problem
from menndl_dask.training.batches import WholeSamples
from menndl_dask.training.jax_loop import ScanLoop
from menndl_dask.training.loop import BatchLoop, Loop
from menndl_dask.training.loss import Loss
from menndl_dask.training.optimizer import make_optimizer

_BATCH = 32
_NETWORKS = {
    "2 dense layers, 8 × 8 pixels": (8, Genome((FullyConnected(32), FullyConnected(32)))),
    "3 convolutions of 16, 28 × 28 pixels": (
        28, Genome((Convolution(16, normalisation="batch"), Pooling(), Convolution(16), Pooling(), Convolution(16))),
    ),
    "3 convolutions of 32, 64 × 64 pixels": (64, Genome((Convolution(32), Convolution(32), Convolution(32)))),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the milliseconds of a step for each network and loop."""
    parser = argparse.ArgumentParser("benchmarks.jax_loop")
    parser.add_argument("--steps", type=int, default=20, help="of a round (default: 20)")
    parser.add_argument("--rounds", type=int, default=5, help="of each loop (default: 5)")
    given = parser.parse_args(arguments)
    sys.stdout.write("| network | Keras's steps: processor, clock | one loop: processor, clock |\n|---|---|---|\n")
    for name, (pixels, genome) in _NETWORKS.items():
        loops = [_loop(kind, pixels, genome, given.steps) for kind in (BatchLoop, ScanLoop)]
        times: list[list[tuple[float, float]]] = [[], []]
        for number in range(given.rounds + 1):
            for loop, found in zip(loops, times, strict=True):
                used = _round(loop, given.steps)
                if number:  # the first compiles
                    found.append(used)
        medians = [[statistics.median(each) for each in zip(*found, strict=True)] for found in times]
        cells = " | ".join(f"{processor:.1f} ms, {clock:.1f} ms" for processor, clock in medians)
        sys.stdout.write(f"| {name} | {cells} |\n")
    load = os.getloadavg()[0]
    sys.stdout.write(f"\n{len(os.sched_getaffinity(0))} cores, load {load:.1f}; batches of {_BATCH}\n")
    return 0


def _loop(kind: type[BatchLoop] | type[ScanLoop], pixels: int, genome: Genome, steps: int) -> Loop:
    count, rng = _BATCH * steps, np.random.default_rng(0)
    facts = Facts(
        ((pixels, pixels, 1),), 4, classes=tuple("abcd"), class_counts=(1,) * 4, samples=(count, 1, 1),
        mean=((0.0,),), variance=((1.0,),), label_mean=(), label_variance=(), constant_fitness=0.25,
    )  # fmt: skip
    problem = Problem("images", "classification", facts, ("image",), "label", budget=Budget(steps=steps))
    images = rng.normal(size=(count, pixels, pixels, 1)).astype("float32")
    source = WholeSamples(Samples((images,), rng.integers(0, 4, count).astype("int32")), seed=0)
    model = decode(genome, problem, 0)
    return kind(model, Loss(problem), make_optimizer("adam", 1e-3, 0.0), source, _BATCH)


def _round(loop: Loop, steps: int) -> tuple[float, float]:
    """Return the milliseconds of a step, of all processors and of the clock."""
    processor, clock = time.process_time(), time.monotonic()
    loop.run(np.arange(_BATCH * steps), math.inf)
    return 1e3 * (time.process_time() - processor) / steps, 1e3 * (time.monotonic() - clock) / steps


if __name__ == "__main__":
    sys.exit(main())
