"""Landscapes: search spaces whose every network has a known value, for comparing optimizers. Pure.

`Macro` and `Digits` look up networks that were really trained (NAS-Bench-Macro, and `digits_table`); `Layered` and
`Cell` are made up: a value that depends on the structure as that of real networks does, with noise, failures and
training times.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.interactions import Eight, Four, Interactions
from benchmarks.simulation import Outcome
from menndl_dask.errors import UserError
from menndl_dask.genome import layers as genes
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import choice
from menndl_dask.genome.gene import Gene
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Budget, Facts, Problem
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace

MACRO = Path(__file__).resolve().parents[2] / "shared" / "data" / "nas_macro" / "macro.npz"
DIGITS = Path(__file__).with_name("digits_table.csv")


@dataclass(frozen=True, slots=True)
class Block(Gene):
    """A layer of NAS-Bench-Macro: the identity, or an inverted bottleneck with a 3×3 or a 5×5 kernel."""

    operation: str = choice("identity", "mb3_k3", "mb6_k5")


@dataclass(frozen=True, slots=True)
class Edge(Gene):
    """An edge of a cell, as in NAS-Bench-201."""

    operation: str = choice("none", "skip", "conv1", "conv3", "pool")


@dataclass(frozen=True, slots=True)
class Width(Gene):
    """The number of kernels of all layers of a network for digits."""

    kernels: int = choice(8, 24)


@dataclass(frozen=True, slots=True)
class Step(Gene):
    """A step of a network for digits."""

    operation: str = choice("convolution", "residual", "separable", "pooling")


class Trained(NamedTuple):
    """A training of a network for digits: what it was of, and what came of it."""

    kernels: int
    steps: str
    seed: int
    fitness: float | None
    cpu_seconds: float
    parameters: float
    flops: float


def read_digits(path: Path) -> Iterator[Trained]:
    """Yield the lines of a table of digits; one that was cut short is passed over."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if line.endswith("\n") and not line.startswith("#")):
            reached = float(row["fitness"]) if row["fitness"] else None
            what = int(row["kernels"]), row["steps"], int(row["seed"])
            yield Trained(*what, reached, float(row["cpu_seconds"]), float(row["parameters"]), float(row["flops"]))


class Macro:
    """NAS-Bench-Macro (Su et al. 2021, arXiv:2103.11922): 8 layers of 3 blocks, each network trained three times."""

    name = "macro"

    def __init__(self, path: Path = MACRO) -> None:
        table = np.load(path)
        self.space = SearchSpace.slots([Block] * 8)
        self._accuracy = table["acc"] / 100
        self._mean = self._accuracy.mean(1)
        self._seconds = 30 * (0.3 + 0.7 * table["mflops"] / table["mflops"].mean())
        self._parameters, self._flops = table["params"], table["mflops"] * 2e6
        self._values = Block.domains()["operation"].values  # type: ignore[attr-defined]
        self.best, self.floor = float(self._mean.max()), float(self._mean.min())
        self.good = float(np.quantile(self._mean, 0.999))

    def evaluate(self, genome: Genome, rng: np.random.Generator) -> Outcome:
        """Look up one of the network's three trainings."""
        place = 0
        for gene in genome.genes:
            place = 3 * place + self._values.index(gene.operation)  # type: ignore[attr-defined]
        fitness = float(self._accuracy[place, rng.integers(3)])
        costs = {"parameters": float(self._parameters[place]), "flops_forward": float(self._flops[place])}
        seconds = float(self._seconds[place] * math.exp(0.1 * rng.standard_normal()))
        return Outcome(Result(fitness, costs=costs), float(self._mean[place]), seconds)


class Digits:
    """All networks of a small space, really trained on scikit-learn's digits with several seeds; see `digits_table`."""

    name = "digits"

    def __init__(self, path: Path = DIGITS) -> None:
        self._rows: dict[tuple[int, str], list[Trained]] = {}
        for row in read_digits(path):
            self._rows.setdefault((row.kernels, row.steps), []).append(row)
        self.space = SearchSpace.slots([Width, *[Step] * len(next(iter(self._rows))[1])])
        if len(self._rows) < self.space.size:
            missing = f"{self.space.size - len(self._rows):.0f} networks are missing"
            raise UserError(f"{path}: {missing}; python -m benchmarks.digits_table trains them")
        self.floor = min(row.fitness for rows in self._rows.values() for row in rows if row.fitness is not None)
        self._mean = {
            what: float(np.mean([self.floor if row.fitness is None else row.fitness for row in rows]))
            for what, rows in self._rows.items()
        }
        self.best = max(self._mean.values())
        self.good = float(np.quantile(list(self._mean.values()), 0.999))

    def evaluate(self, genome: Genome, rng: np.random.Generator) -> Outcome:
        """Look up one of the network's trainings."""
        width, *steps = (gene.to_dict() for gene in genome.genes)
        what = width["kernels"], "".join(step["operation"][0] for step in steps)
        row = self._rows[what][rng.integers(len(self._rows[what]))]
        costs = {"parameters": row.parameters, "flops_forward": row.flops}
        result = Result.failed("diverged") if row.fitness is None else Result(row.fitness, costs=costs)
        return Outcome(result, self._mean[what], row.cpu_seconds)


class Cell:
    """A made-up cell of four nodes and six edges with five operations, as in NAS-Bench-201: 15,625 networks.

    Its value follows the paths from the input to the output: what convolutions a path has, how they interact,
    whether it is cut. `seed` chooses the weights.
    """

    _EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

    def __init__(self, seed: int = 0, noise: float = 0.004) -> None:
        self.name = f"cell {seed}" if seed else "cell"
        self.space = SearchSpace.slots([Edge] * 6)
        rng = np.random.default_rng(seed)
        self._worth = {"none": 0.0, "skip": 0.35, "conv1": 0.6, "conv3": 1.0, "pool": 0.15}
        self._edge = rng.uniform(0.5, 1.5, 6)
        self._pair = rng.normal(0.0, 0.3, (6, 6, 5, 5))
        self._noise = noise
        names = list(self._worth)
        every = np.array([self._value(c) for c in itertools.product(names, repeat=6)])
        self.best, self.floor = float(every.max()), float(every.min())
        self.good = float(np.quantile(every, 0.999))

    def evaluate(self, genome: Genome, rng: np.random.Generator) -> Outcome:
        """Return the value with noise; a cell without a path to its output fails."""
        operations = tuple(str(g.operation) for g in genome.genes)  # type: ignore[attr-defined]
        truth = self._value(operations)
        work = 0.3 + sum({"conv1": 0.3, "conv3": 1.0, "pool": 0.1}.get(o, 0.0) for o in operations)
        seconds = 20 * work * math.exp(0.2 * rng.standard_normal())
        if self._paths(operations) == 0:
            return Outcome(Result.failed("no_learning"), self.floor, 0.3 * seconds)
        return Outcome(Result(truth + self._noise * rng.standard_normal()), truth, seconds)

    def _paths(self, operations: tuple[str, ...]) -> float:
        reach = [1.0, 0.0, 0.0, 0.0]
        for (start, end), operation, weight in zip(self._EDGES, operations, self._edge, strict=True):
            reach[end] += reach[start] * self._worth[operation] * weight
        return reach[3]

    def _value(self, operations: tuple[str, ...]) -> float:
        paths = self._paths(operations)
        if paths == 0:
            return 0.1
        names = list(self._worth)
        at = [names.index(o) for o in operations]
        pairs = sum(float(self._pair[i, j, at[i], at[j]]) for i in range(6) for j in range(i))
        linear = operations.count("conv1") + operations.count("conv3") == 0
        return 0.1 + 0.85 / (1 + math.exp(1.5 - 0.8 * math.log(paths) - 0.7 * pairs + 1.5 * linear))


class Layered:
    """A made-up value of networks of variable length, over the real search space of 2-D images.

    What pays: capacity up to a point, a receptive field of about the object's size, halving the image by and by,
    normalisation and shortcuts in deep networks, moderate dropout near the end; and preferences for what follows what
    that `seed` draws. Deep networks without normalisation learn nothing, large ones run out of memory, some steep ones
    diverge.
    """

    def __init__(self, seed: int = 0, noise: float = 0.006) -> None:
        self.name = f"layered {seed}" if seed else "layered"
        facts = Facts(
            ((48, 48, 1),), 5, tuple("abcde"), (200,) * 5, (1000, 200, 200), ((0.0,),), ((1.0,),), constant_fitness=0.2
        )
        self.problem = Problem("nowhere.zarr", "classification", facts, budget=Budget(epochs=5))
        self.space = SearchSpace.image(self.problem, max_parameters=3e6)
        self._seed, self._noise = seed, noise
        rng = np.random.default_rng(seed)
        self._field = float(rng.uniform(15, 40))
        self._ideal = float(rng.uniform(4.8, 5.6))  # log10 of the parameters
        self._shrink = float(rng.uniform(2, 4))  # halvings
        self.floor, self.best, self.good = 0.2, 0.97, 0.0
        drawn = np.random.default_rng([seed, 7])
        sample = [self.value(self.space.sample(drawn))[0] for _ in range(2000)]
        self.good = float(np.quantile(sample, 0.999))

    def evaluate(self, genome: Genome, rng: np.random.Generator) -> Outcome:
        """Return the value with noise, or a failure."""
        truth, failure, flops = self.value(genome)
        seconds = (5 + 10 * (flops / 1e7) ** 0.6) * math.exp(0.25 * rng.standard_normal())
        if failure is not None:
            return Outcome(Result.failed(failure), self.floor, 0.3 * seconds)
        cost = cost_of(genome, self.problem)
        costs = {"parameters": float(cost.parameters), "flops_forward": cost.flops_forward}
        return Outcome(Result(truth + self._noise * rng.standard_normal(), costs=costs), truth, seconds)

    def value(self, genome: Genome) -> tuple[float, str | None, float]:
        """Return the value without noise, the failure if there is one, and the FLOPs."""
        cost = cost_of(genome, self.problem)
        depth, reach, halvings, normed, shortcuts, weighted = _anatomy(genome)
        flops = cost.flops_forward
        if cost.memory_bytes(32) > 2e8:
            return self.floor, "out_of_memory", flops
        trained = max(0.0, depth - 4 - 5 * normed - 1.5 * shortcuts)
        if trained > 1.5:
            return self.floor, "no_learning", flops
        if self._whim("steep", genome.layers[0]) > 1.3:
            return self.floor, "diverged", flops
        size = math.log10(max(cost.parameters, 10))
        lacks = 0.5 * max(0.0, self._ideal - size) ** 1.5 + 0.12 * max(0.0, size - self._ideal) ** 2
        lacks += 0.35 * math.log(reach / self._field) ** 2 + 0.12 * (halvings - self._shrink) ** 2
        lacks += 0.25 * trained + 0.15 * max(0, 4 - weighted) - 0.08 * min(shortcuts, 3)
        lacks -= 0.12 * self._details(genome)
        return 0.2 + 0.77 / (1 + math.exp(1.6 * (lacks - 1.0))), None, flops

    def _details(self, genome: Genome) -> float:
        """Return what the layers and their order add, about 0 ± 1."""
        layers, sources = genome.layers, genome.sources
        total = 0.0
        for i, (layer, node) in enumerate(zip(layers, sources, strict=True)):
            total += self._whim(type(layer).__name__, getattr(layer, "activation", ""), min(3, 4 * i // len(layers)))
            total += 0.7 * self._whim(getattr(layer, "kernel_size", ""), getattr(layer, "normalisation", ""))
            for source in node:
                before = type(layers[source]).__name__ if source >= 0 else "image"
                total += self._whim(before, type(layer).__name__, layer.join if len(node) > 1 else "")
            if isinstance(layer, genes.Dropout):
                total += 1.5 - 8 * abs(layer.rate - 0.3) if i > len(layers) / 2 else -1.0
        return total / math.sqrt(len(layers) + 1)

    def _whim(self, *what: Any) -> float:
        return _normal(repr((self._seed, what)))


class HeavyTailed:
    """Another landscape whose evaluations take heavy-tailed times, whatever the network: as wide as their mean."""

    def __init__(self, inner: Any, mean_s: float = 60.0) -> None:
        self.name, self.space = f"{inner.name}, heavy-tailed times", inner.space
        self.best, self.floor, self.good = inner.best, inner.floor, inner.good
        self._inner, self._mean = inner, mean_s

    def evaluate(self, genome: Genome, rng: np.random.Generator) -> Outcome:
        """Evaluate a network, and draw a time."""
        outcome = self._inner.evaluate(genome, rng)
        wide = math.sqrt(math.log(2))  # of the logarithm, so that the standard deviation is the mean
        return outcome._replace(seconds=self._mean * math.exp(wide * rng.standard_normal() - wide**2 / 2))


def _anatomy(genome: Genome) -> tuple[int, float, float, float, int, int]:
    """Return depth, receptive field, halvings, share of normalised layers, shortcuts and layers with weights."""
    depth: list[int] = []
    reach: list[float] = []
    jump: list[float] = []
    weighted = [g for g in genome.layers if isinstance(g, genes.Weighted)]
    normed = sum(g.normalisation != "none" for g in weighted)
    normed += sum(isinstance(g, genes.Normalisation) for g in genome.layers)
    for layer, node in zip(genome.layers, genome.sources, strict=True):
        before = [s for s in node if s >= 0]
        window = max(getattr(layer, "kernel_size", getattr(layer, "size", (1,))))
        dilation, stride = max(getattr(layer, "dilation", (1,))), max(getattr(layer, "stride", (1,)))
        step = max((jump[s] for s in before), default=1.0)
        depth.append(max((depth[s] for s in before), default=0) + isinstance(layer, genes.Weighted))
        reach.append(max((reach[s] for s in before), default=1.0) + (window - 1) * dilation * step)
        jump.append(step * stride)
    shortcuts = sum(len(node) > 1 for node in genome.sources)
    return (
        max(depth, default=0),
        max(reach, default=1.0),
        math.log2(max(jump, default=1.0)),
        min(1.0, normed / max(1, len(weighted))),
        shortcuts,
        len(weighted),
    )


@lru_cache(maxsize=65536)
def _normal(text: str) -> float:
    """Return a number that looks normally distributed, the same for the same text in every process."""
    digest = blake2b(text.encode(), digest_size=16).digest()
    first, second = (int.from_bytes(part, "big") / 2**64 for part in (digest[:8], digest[8:]))
    return math.sqrt(-2 * math.log(max(first, 1e-12))) * math.cos(2 * math.pi * second)


MADE_UP: dict[str, Callable[..., Any]] = {
    "layered": Layered,
    "cell": Cell,
    "few slots": partial(Interactions, "few slots", Eight, 5),
    "many slots": partial(Interactions, "many slots", Four, 14),
    "long": partial(Interactions, "long", Four, 28),
    "few viable": partial(Interactions, "few viable", Four, 14, viable=0.03),
}
