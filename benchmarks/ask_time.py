"""What an ask costs: processor time of asking for one network and telling its result, after so many results.

    python -m benchmarks.ask_time
    python -m benchmarks.ask_time --results 1000 20000 --landscapes "many slots"

A search runs by itself up to the first number of results. To reach the further ones it is told results of random
networks, as a run that is resumed is told its journal; then it runs by itself again for as long as it takes to
measure, with so many networks in flight.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from benchmarks.landscapes import MADE_UP
from benchmarks.simulation import Landscape
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.genome.individual import Individual


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the landscapes and numbers of results that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--landscapes", nargs="+", choices=list(MADE_UP), default=["many slots", "layered"])
    parser.add_argument("--asks", type=int, default=300, help="that a figure is the mean of")
    parser.add_argument("--workers", type=int, default=16, help="networks in flight")
    options = parser.parse_args(arguments)
    counts = sorted(options.results)
    print("| CPU ms of an ask and a tell | " + " | ".join(f"{count:,}" for count in counts) + " |")
    print("| --- |" + " ---: |" * len(counts))
    for name in options.landscapes:
        figures = measured(MADE_UP[name](), counts, options.asks, options.workers)
        print(f"| {name} | " + " | ".join(f"{ms:.1f}" for ms in figures) + " |", flush=True)
    print(f"\nPython {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} at the end")
    return 0


def measured(landscape: Landscape, counts: Sequence[int], asks: int, workers: int) -> list[float]:
    """Return the mean milliseconds of an ask and a tell after each number of results, in increasing order."""
    rng = np.random.default_rng(0)
    evolution = Evolution(landscape.space, seed=0)
    in_flight = deque(evolution.ask(workers))
    told = workers
    found = []
    for count in counts:
        while told < count:
            if told < counts[0]:
                _turn(evolution, landscape, in_flight, rng)
                told += 1
            else:
                told += _recall(evolution, landscape, rng, told + workers)
        told += asks
        found.append(1e3 * float(np.mean([_turn(evolution, landscape, in_flight, rng) for _ in range(asks)])))
    return found


def _turn(evolution: Evolution, landscape: Landscape, in_flight: deque[Individual], rng: np.random.Generator) -> float:
    """Tell the result of one network and ask for another; return the seconds of processor time that this took."""
    individual = in_flight.popleft()
    result = landscape.evaluate(individual.genome, rng).result
    begun = time.thread_time()
    evolution.tell(individual, result)
    in_flight.append(evolution.ask())
    return time.thread_time() - begun


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
