"""What an ask costs: processor time of asking and telling after so many results, and of what is prepared in between.

    python -m benchmarks.ask_time
    python -m benchmarks.ask_time --results 1000 20000 --landscapes "many slots"

A search runs by itself up to the first number of results. To reach the further ones it is told results of random
networks, as a run that is carried on is told its journal; then it runs by itself again for as long as it takes to
measure. One network is in flight at a time, and while it is, evolution prepares what comes: in a real search the driver
has nothing else to do then, and no worker waits for it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.landscapes import MADE_UP
from benchmarks.simulation import Landscape
from menndl_dask.evolution import Evolution
from menndl_dask.individual import Individual


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the landscapes and numbers of results that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--landscapes", nargs="+", choices=list(MADE_UP), default=["many slots", "layered"])
    parser.add_argument("--asks", type=int, default=300, help="that a figure is the mean of")
    options = parser.parse_args(arguments)
    counts = sorted(options.results)
    print("| CPU ms of an ask and a tell + of preparing after | " + " | ".join(f"{count:,}" for count in counts) + " |")
    print("| --- |" + " ---: |" * len(counts))
    for name in options.landscapes:
        figures = measured(MADE_UP[name](), counts, options.asks)
        print(f"| {name} | " + " | ".join(f"{ask:.1f} + {rest:.1f}" for ask, rest in figures) + " |", flush=True)
    print(f"\nPython {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} at the end")
    return 0


def measured(landscape: Landscape, counts: Sequence[int], asks: int) -> list[tuple[float, float]]:
    """Return the milliseconds after each number of results, in increasing order: asking and telling, preparing."""
    rng = np.random.default_rng(0)
    evolution = Evolution(landscape.space, seed=0)
    told = 0
    found = []
    for count in counts:
        while told < count:
            if told < counts[0]:
                _run(evolution, landscape, rng)
                told += 1
            else:
                told += _recall(evolution, landscape, rng, told)
        told += asks
        spent = np.array([_run(evolution, landscape, rng) for _ in range(asks)]).mean(0)
        found.append((1e3 * float(spent[0]), 1e3 * float(spent[1])))
    return found


def _run(evolution: Evolution, landscape: Landscape, rng: np.random.Generator) -> tuple[float, float]:
    """Evaluate one network; return the seconds that asking and telling, and preparing took."""
    begun = time.thread_time()
    individual = evolution.ask()
    asked = time.thread_time()
    while evolution.prepare():
        pass
    prepared = time.thread_time()
    result = landscape.evaluate(individual.genome, rng).result
    evaluated = time.thread_time()
    evolution.tell(individual, result)
    return asked - begun + time.thread_time() - evaluated, prepared - asked


def _recall(evolution: Evolution, landscape: Landscape, rng: np.random.Generator, number: int) -> int:
    genome = landscape.space.sample(rng)
    if evolution.has_seen(genome):
        return 0
    individual = Individual(number, genome)
    evolution.recall(individual)
    evolution.tell(individual, landscape.evaluate(genome, rng).result)
    return 1


if __name__ == "__main__":
    sys.exit(main())
