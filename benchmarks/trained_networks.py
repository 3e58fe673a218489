"""Train many networks of the image space on real images, and keep their learning curves: a table for other benchmarks.

    python -m benchmarks.trained_networks chips.zarr --table chips.jsonl.gz --searches 4 --networks 60 --epochs 5
    python -m benchmarks.trained_networks chips.zarr --table chips.jsonl.gz --searches 4 --networks 60 --again 60

The data set is a labelled one, as ``menndl search`` takes it. Searches take turns: one by `Evolution`, one at random,
each with a seed of its own and one network at a time. Then `--again` networks, spread over all fitnesses, are trained
with other seeds, and with a budget of four times the length. Trainings are never stopped early.

A line of the table is one training: the search it belongs to, the genome, seed and budget, its cost, and at six looks
the metric and the loss on the validation split, with the weights as they are, and with exponential averages of them.
At the end accuracy and loss are kept for each group of 64 neighbouring samples (the chips of a patch) of validation and
test, so that these can be divided anew. The same command carries on where it was stopped.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from menndl_dask import Budget, Problem, SearchSpace, open_problem
from menndl_dask.data.staging import stage
from menndl_dask.evolution.evolution import Evolution
from menndl_dask.evolution.random_search import RandomSearch
from menndl_dask.genome.genome import Genome
from menndl_dask.result import Result
from menndl_dask.space.standard.standard import standard_network

LOOKS = 6
DECAYS = (0.9, 0.98)  # of the averages, by step
_LONGER = 4.0
_PER_PROCESS = 20  # trainings in a process: TensorFlow keeps memory of each
_LIMIT_S = 300.0
Row = dict[str, Any]


class Table:
    """The trainings so far, each a line of a compressed file."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self._path = path
        lines = list(read_lines(path)) if path.exists() else []
        self.rows = lines[1:]
        self.done = {_what(row): row for row in self.rows}
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(head)

    def add(self, row: Row) -> None:
        """Write a training down at once."""
        self.rows.append(row)
        self.done[_what(row)] = row
        self._append(row)

    def _append(self, line: Mapping[str, Any]) -> None:
        with gzip.open(self._path, "at", encoding="utf-8") as file:  # a member of its own: what was written stays
            file.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> Iterator[Row]:
    """Yield the lines of a table; what a kill has cut short at its end is left out."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        try:
            for line in file:
                yield json.loads(line)
        except (EOFError, json.JSONDecodeError):
            return


def _what(row: Row) -> tuple[Any, ...]:
    return row["search"], row["number"], row["seed"], row["longer"]


class Trainer:
    """Trains in a process that is replaced now and then."""

    def __init__(self, problem: Problem, data: Path) -> None:
        self._problem, self._data = problem, data
        self._pool: Any = None
        self._used = 0

    def train(self, genome: Genome, seed: int, longer: float) -> Row:
        """Return what came of a training."""
        if self._pool is None or self._used >= _PER_PROCESS:
            self.close()
            self._pool, self._used = multiprocessing.get_context("spawn").Pool(1), 0
        self._used += 1
        problem = replace(self._problem, budget=self._problem.budget.times(longer))
        task = self._pool.apply_async(train, (genome.to_dict(), problem.to_dict(), str(self._data), seed))
        try:
            return dict(task.get(_LIMIT_S * longer))
        except multiprocessing.TimeoutError:
            self.close()
            return {"failure": "time_limit"}

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()
            self._pool = None


def train(genome: dict[str, Any], problem: dict[str, Any], data: str, seed: int) -> Row:
    """Train a network in this process, as a search does, with averages of the weights beside it."""
    from benchmarks.averaged_training import run

    return run(genome, problem, data, seed)


def search(table: Table, trainer: Trainer, space: SearchSpace, kind: str, seed: int, networks: int) -> None:
    """Search with a kind of optimizer, or carry on with such a search."""
    problem = space.rules.problem  # type: ignore[union-attr]
    first = [standard_network(problem)[1]]
    optimizer: Any = (
        Evolution(space, seed, workers=1, initial=first, random=max(5, min(20, networks // 3)))
        if kind == "evolution"
        else RandomSearch(space, seed, float("inf"))
    )
    name = f"{kind} {seed}"
    for number in range(networks):
        (individual,) = optimizer.ask(1)
        row = table.done.get((name, number, seed, 1.0))
        if row is None:
            row = _trained(table, trainer, individual.genome, name, number, seed, 1.0)
            print(
                f"{name}, network {number}: {row.get('fitness', row.get('failure'))} {row['cpu_s']:.1f} s", flush=True
            )
        optimizer.tell(individual, result_of(row))


def result_of(row: Row) -> Result:
    """Return a training's result as a search gets it."""
    if row.get("failure"):
        return Result.failed(row["failure"], row.get("message", ""))
    return Result(row["fitness"], costs=row["costs"])


def _trained(table: Table, trainer: Trainer, genome: Genome, name: str, number: int, seed: int, longer: float) -> Row:
    started = time.monotonic()
    row = trainer.train(genome, seed, longer)
    row = {
        "search": name, "number": number, "seed": seed, "longer": longer, "genome": genome.folded().to_dict(),
        "cpu_s": time.monotonic() - started, **row,
    }  # fmt: skip
    table.add(row)
    return row


def again(table: Table, trainer: Trainer, count: int, seeds: Sequence[int]) -> None:
    """Train networks of all fitnesses with other seeds, and for longer."""
    done = [row for row in table.rows if row["longer"] == 1.0 and not row.get("failure") and row["seed"] < 1000]
    ordered = sorted({json.dumps(row["genome"]): row for row in done}.values(), key=lambda row: -row["fitness"])
    # the better half twice as densely as the others
    places = np.unique((np.linspace(0, 1, count) ** 1.5 * (len(ordered) - 1)).astype(int))
    for seed in seeds:
        for longer in (1.0, _LONGER):
            for place in places.tolist():
                row = ordered[place]
                if (row["search"], row["number"], seed, longer) not in table.done:
                    genome = Genome.from_dict(row["genome"])
                    found = _trained(table, trainer, genome, row["search"], row["number"], seed, longer)
                    print(f"again {place}, × {longer:g}: {found.get('fitness')} after {row['fitness']}", flush=True)


def head(problem: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """Return the first line of a table: what is needed to read it without the data."""
    versions = {name: version(name) for name in ("menndl_dask", "keras", "tensorflow")}
    made = f"from {datetime.now(UTC).date()} on by benchmarks/trained_networks.py; {platform.machine()}"
    described = {**problem.to_dict(), "data": Path(str(problem.data)).name}
    limits = {"max_parameters": options.max_parameters, "max_flops": options.max_flops}
    return {"problem": described, "space": limits, "decays": DECAYS, "made": made, "versions": versions}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the command line describes."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--task", default=None)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--augment", nargs="*", default=["flip"])
    parser.add_argument("--max-parameters", type=float, default=1e6)
    parser.add_argument("--max-flops", type=float, default=4e7)
    parser.add_argument("--searches", type=int, default=4, help="of each kind")
    parser.add_argument("--first", type=int, default=0, help="seed of the first search")
    parser.add_argument("--networks", type=int, default=60, help="of each search")
    parser.add_argument("--again", type=int, default=0, help="networks that are trained again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1000, 1001])
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")
    budget = replace(
        Budget(epochs=options.epochs, batch_size=options.batch, average_weights=False).without_early_stopping(),
        rungs=tuple(round((look + 1) / LOOKS, 3) for look in range(LOOKS - 1)),
    )
    problem = open_problem(
        options.data,
        **({} if options.task is None else {"task": options.task}),
        budget=budget,
        augmentation=options.augment,
    )
    space = SearchSpace.image(problem, max_parameters=options.max_parameters, max_flops=options.max_flops)
    table = Table(options.table, head(problem, options))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(problem, stage(problem, folder))
        try:
            for seed in range(options.first, options.first + options.searches):
                for kind in ("evolution", "random"):
                    search(table, trainer, space, kind, seed, options.networks)
            if options.again:
                again(table, trainer, options.again, options.seeds)
        finally:
            trainer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
