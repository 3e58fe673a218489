"""A search that begins from a known network: how many random networks should it draw? On made-up landscapes.

    python -m benchmarks.initial_network --seeds 40

For each seed a landscape is made, and a network to begin with: the best of so many random ones. Two workers search; the
table has the value without noise of the best result after 20, 40 and 80 networks, for searches that draw all their
random networks and for those that stop once the known network has beaten some of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np

from benchmarks.landscapes import MADE_UP
from benchmarks.simulation import simulate
from menndl_dask.evolution import evolution
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.genome.genome import Genome
from menndl_dask.space.space import SearchSpace
from menndl_dask.terminal import say

_AT = (20, 40, 80)
_RULES = {"all are drawn": 10**9, "until it has beaten three": 3, "until it has beaten one": 1, "none are drawn": 0}


def known_network(landscape: Any, best_of: int, seed: int) -> Genome:
    """Return the best of so many random networks."""
    rng = np.random.default_rng([seed, 11])
    drawn: list[Genome] = [landscape.space.sample(rng) for _ in range(best_of)]
    return max(drawn, key=lambda genome: float(landscape.evaluate(genome, np.random.default_rng(0)).truth))


def searched(landscape: Any, genome: Genome, seed: int, enough: int) -> list[float]:
    """Return the value of the best result after each number of networks in `_AT`."""
    evolution._ENOUGH = enough  # noqa: SLF001 – what is compared; no option of a search
    random = 0 if enough == 0 else max(6, _AT[-1] // 4)

    def make(space: SearchSpace, seed: int, workers: int) -> Evolution:
        return Evolution(space, seed, workers, initial=[genome], random=random)

    trace = simulate(make, landscape, evaluations=_AT[-1], workers=2, seed=seed)
    return [float(trace.truth[n - 1]) for n in _AT]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--landscapes", nargs="+", choices=list(MADE_UP), default=["layered", "many slots"])
    parser.add_argument("--best-of", type=int, nargs="+", default=[1, 10, 100])
    given = parser.parse_args(arguments)
    columns = [f"after {n}" for n in _AT]
    say(f"| landscape | known network | random networks | {' | '.join(columns)} |")
    say(f"|---|---|---|{'---:|' * len(_AT)}")
    for name in given.landscapes:
        landscapes = [MADE_UP[name](seed) for seed in range(1, given.seeds + 1)]
        for best_of in given.best_of:
            first: list[list[float]] = []
            for rule, enough in _RULES.items():
                rows = [
                    searched(one, known_network(one, best_of, seed), seed, enough)
                    for seed, one in enumerate(landscapes)
                ]
                first = first or rows
                gains = [[row[k] - known[k] for row, known in zip(rows, first, strict=True)] for k in range(len(_AT))]
                cells = [f"{fmean(row[k] for row in rows):.4f}" for k in range(len(_AT))]
                if rows is not first:
                    cells = [
                        f"{cell} ({fmean(gain):+.4f} ± {stdev(gain) / len(gain) ** 0.5:.4f})"
                        for cell, gain in zip(cells, gains, strict=True)
                    ]
                say(f"| {name} | best of {best_of} | {rule} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
