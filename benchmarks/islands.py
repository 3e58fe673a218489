"""What it costs to be several islands, and what the exchange brings: against one search of the same budget.

    python -m benchmarks.islands --landscapes 8 --evaluations 800 --islands 4

On made-up landscapes it prints the mean value without noise of the network with the best result, and its standard
error, and by how much that is better than islands that never exchange, landscape by landscape: one search, and islands
that exchange after so many results each time.
"""

from __future__ import annotations

import argparse
import sys
from collections import deque
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from benchmarks.landscapes import Layered
from benchmarks.simulation import Floats, Landscape
from menndl_dask.performance.simulation.real_driver import IslandDriver
from menndl_dask.performance.simulation.real_driver import islands as made_islands

IN_FLIGHT = 24  # evaluations on all islands together
_EXCHANGE_EVERY = 5  # results of an island between two exchanges with the others


def best_value(
    landscape: Landscape, seed: int, evaluations: int, islands: int, *, every: int, count: int, screen: bool = True
) -> float:
    """Return the value without noise of the network with the best result.

    Parameters
    ----------
    landscape
        The landscape to search.
    evaluations
        Budget of all islands together, which take turns.
    every
        Number of results of an island between two times that it takes in migrants.
    count
        Number of networks that an island offers to the others.
    screen
        Whether offspring are screened by the surrogate.
    """
    rng = np.random.default_rng([seed, 1])
    best, value = -np.inf, landscape.floor
    pending: deque[tuple[IslandDriver, Any, Any]] = deque()
    drivers = made_islands(landscape.space, islands, _no_time, seed, every=every, offered=count, screen=screen)
    with drivers as each:
        for number in range(evaluations):
            island = each[number % islands]
            individual = island.evolution.ask()
            pending.append((island, individual, landscape.evaluate(individual.genome, rng)))
            if len(pending) < min(IN_FLIGHT, evaluations // 2):
                continue
            island, individual, outcome = pending.popleft()
            island.evolution.tell(individual, outcome.result)
            island.counts.add(individual, outcome.result)
            if island.migration is not None and island.counts.done % _EXCHANGE_EVERY == 0:
                island.migration.exchange(island.counts, 0, float(number))
            if outcome.result.fitness is not None and outcome.result.fitness > best:
                best, value = outcome.result.fitness, outcome.truth
    return value


def _no_time(_: np.random.Generator) -> float:
    return 0.0


def _told(values: Floats) -> str:
    return f"{values.mean():.4f} ± {values.std() / np.sqrt(len(values)):.4f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--landscapes", type=int, default=8, metavar="N", help="how many (default: 8)")
    parser.add_argument("--evaluations", type=int, default=800, metavar="N", help="of each search (default: 800)")
    parser.add_argument("--islands", type=int, default=4, metavar="N", help="how many (default: 4)")
    parser.add_argument("--every", type=int, nargs="+", default=[10, 25], metavar="N", help="results (default: 10 25)")
    parser.add_argument("--count", type=int, nargs="+", default=[3, 10], metavar="N", help="networks (default: 3 10)")
    parser.add_argument("--no-screen", action="store_true", help="do not screen children")
    given = parser.parse_args(arguments)
    landscapes = [Layered(seed) for seed in range(given.landscapes)]
    never = given.evaluations + 1
    kinds = [(f"{given.islands} islands, no exchange", given.islands, never, 1), ("one search", 1, never, 1)]
    for every, count in product(given.every, given.count):
        kinds.append((f"{given.islands} islands, {count} every {every} results", given.islands, every, count))
    alone = None
    for name, islands, every, count in kinds:
        screen = not given.no_screen
        values = np.array([
            best_value(landscape, seed, given.evaluations, islands, every=every, count=count, screen=screen)
            for seed, landscape in enumerate(landscapes)
        ])  # fmt: skip
        alone = values if alone is None else alone
        told = f"{_told(values)}" if alone is values else f"{_told(values)}   better by {_told(values - alone)}"
        sys.stdout.write(f"{name:<36} {told}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
