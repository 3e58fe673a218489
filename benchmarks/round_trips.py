"""Round trips: sampled and bred networks of many spaces go to Keras and back, and each promise of the encoding is held.

    python -m benchmarks.round_trips --networks 2000 --processes 2
    python -m benchmarks.round_trips --space "pixels of volumes, all kinds" --first 17 --networks 1

Half of the networks of each space are sampled; the others are bred from two parents by crossover and mutations. Of
each it is checked that it is in the space, and that repair and canonical form leave it as it is; that plain dicts and
the form with cells are read back as the same network; that its Keras model is encoded as the same genome, has as many
weights as its cost says, an output of the shape that the problem needs, and finite predictions. Shapes and weights are
compared layer by layer when a model is built. Ends with exit code 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from menndl_dask.errors import MenndlError
from menndl_dask.evolution.offspring import Offspring, Variation
from menndl_dask.evolution.operator_rates import OperatorRates
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.domain import Choice
from menndl_dask.genome.genome import Genome
from menndl_dask.genome.individual import Individual
from menndl_dask.genome.layers import (
    KINDS,
    Activation,
    Convolution,
    Dropout,
    GlobalPooling,
    LayerScale,
    Normalisation,
    Pooling,
    PositionalEmbedding,
    SelfAttention,
    ZeroPadding,
)
from menndl_dask.problem import Problem
from menndl_dask.space.network_builder import NetworkBuilder
from menndl_dask.space.space import SearchSpace
from menndl_dask.space.standard.standard import named_network, standard_network
from menndl_dask.space.widening import Given, widened
from tests.menndl_networks import NETWORKS
from tests.problems import PROBLEMS, problem

_SHAPES = {"signals": (40, 3), "images": (20, 24, 2), "volumes": (6, 10, 12, 1)}
_TASKS = {"classes of": "classification", "numbers of": "regression", "pixels of": "segmentation"}
_MOST_PARAMETERS = 2e6  # of a network: what is checked does not depend on its width
_CLEARED = 25  # networks of a space after which Keras forgets models
_MANY = 150  # networks of a process, whose memory grows with each model


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the spaces, and what failed; return 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=2000, help="of all spaces together")
    parser.add_argument("--first", type=int, default=0, help="number of the first network of each space")
    parser.add_argument("--space", choices=list(SPACES), action="append", help="only this one")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args(arguments)
    names = options.space or list(SPACES)
    count = -(-options.networks // len(names))
    numbers = [(name, options.first + i) for name in names for i in range(count)]
    parts = [numbers[i : i + _MANY] for i in range(0, len(numbers), _MANY)]
    began = time.monotonic()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with multiprocessing.get_context("spawn").Pool(options.processes, maxtasksperchild=1) as pool:
        for rows in pool.imap_unordered(_checked_part, parts):
            for row in rows:
                found[row["space"]].append(row)
            done = sum(map(len, found.values()))
            print(f"{done} networks, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print("| space | networks | genes, median | layers, most | kinds | parameters, median | broken promises |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for name, rows in found.items():
        print(f"| {name} | {' | '.join(_summary(rows))} |")
    broken = [row for rows in found.values() for row in rows if row["failures"]]
    total = sum(map(len, found.values()))
    print(f"\n{total} networks, {len(broken)} with a broken promise; {time.monotonic() - began:.0f} s")
    print(f"Python {platform.python_version()}, {time.strftime('%d %B %Y')}, {os.cpu_count()} cores")
    for row in broken:
        print(f"\n{row['space']}, number {row['number']}: {'; '.join(row['failures'])}\n{row['genome']}")
    return 1 if broken else 0


def _all_kinds(task: str, shape: tuple[int, ...]) -> Callable[[], SearchSpace]:
    """Return a space of images with all kinds of the package, and all values of their fields."""

    def space() -> SearchSpace:
        of = problem(task, (shape,))
        ranges = {kind: {n: d for n, d in kind.domains().items() if isinstance(d, Choice)} for kind in KINDS}
        if task == "segmentation":  # no pixel of the image may be lost
            ranges = {kind: {n: d for n, d in fields.items() if n != "padding"} for kind, fields in ranges.items()}
        return SearchSpace.image(of, extra=KINDS, ranges=ranges, maximum=14, max_parameters=_MOST_PARAMETERS)

    return space


def _default(of: Problem, **settings: Any) -> Callable[[], SearchSpace]:
    return lambda: SearchSpace.image(of, max_parameters=_MOST_PARAMETERS, **settings)


def _given(of: Problem, *genomes: Genome) -> Callable[[], SearchSpace]:
    """Return a space that is widened for networks, which are its first parents."""
    return lambda: widened(SearchSpace.image(of), [Given("given", genome) for genome in genomes]).space


def _users() -> SearchSpace:
    from tests.kinds import EXTRA

    return _default(_OWN, extra=EXTRA, maximum=10)()


_OWN = problem(shapes=((20, 20, 2),))
_SMALL = problem(shapes=((24, 24, 3),))
_SEVERAL = problem("segmentation", ((24, 24, 1), (24, 24, 2)))
def _joined() -> Genome:
    """Return a network that joins tensors in every way, some of single pixels and of single channels."""
    net = NetworkBuilder()
    stem = net.add(Convolution(8), -1)
    pooled = net.add(GlobalPooling(keepdims=True))
    gate = net.add(Convolution(8, (1,), activation="sigmoid"), pooled)
    mask = net.add(Convolution(1, (3,), activation="sigmoid"), stem)
    tip = net.add(Activation("linear", join="multiply"), stem, gate)
    tip = net.add(Convolution(8, join="multiply"), tip, mask)
    for join in ("average", "maximum", "minimum", "subtract", "add", "concatenate"):
        tip = net.add(Activation("relu", join=join), tip, net.add(Convolution(8, (1,)), tip))
    return net.genome()


def _attending() -> Genome:
    """Return a network of patches that attend to each other, with the settings of published ones."""
    net = NetworkBuilder()
    tip = net.add(Convolution(16, (4,), (4,), padding="valid", activation="linear"), -1)
    tip = net.add(PositionalEmbedding(), tip)
    for _ in range(3):
        read = net.add(Normalisation("layer", epsilon=1e-6), tip)
        read = net.add(LayerScale(), net.add(SelfAttention(heads=2, key_size=8), read))
        tip = net.add(Activation("linear", join="add"), tip, net.add(Dropout(0.1, together="sample"), read))
    net.add(Activation("leaky_relu", slope=0.05))
    net.add(ZeroPadding((1, 0), (0, 2)))
    net.add(Pooling((3,), (2,), padding="valid"))
    return net.genome()


_PARENTS: dict[str, tuple[Problem, list[Genome]]] = {
    **{f"widened for {name}": (of, [network()]) for name, (of, network) in NETWORKS.items()},
    "widened for a standard network": (_SEVERAL, [standard_network(_SEVERAL)[1]]),
    "widened for all joins": (_SMALL, [_joined()]),
    "widened for attention": (_SMALL, [_attending()]),
    "widened for ResNet-18, in cells": (_SMALL, [named_network("resnet18", _SMALL)[1]]),
    "widened for long kernels": (
        problem(shapes=((60, 30, 1),)),
        [Genome((Convolution(3, (1, 25), (5, 1), padding="valid"), Convolution(300, (2, 3))))],
    ),
}
SPACES: dict[str, Callable[[], SearchSpace]] = {
    **{name: _default(of, maximum=12) for name, of in PROBLEMS.items()},
    **{
        f"{what} {images}, all kinds": _all_kinds(task, shape)
        for images, shape in _SHAPES.items()
        for what, task in _TASKS.items()
        if what != "numbers of" or images == "images"
    },
    "with a Training gene": _default(_OWN, training=True, maximum=8),
    **{name: _given(of, *genomes) for name, (of, genomes) in _PARENTS.items()},
    "kinds of a user": _users,  # the last one: from here on they read layers of Keras before the package's kinds
}


@cache
def space_of(name: str) -> SearchSpace:
    """Return the space of that name."""
    return SPACES[name]()


def _checked_part(part: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    return [checked(name, number) for name, number in part]


def checked(name: str, number: int) -> dict[str, Any]:
    """Return what is known of a network of a space after all checks; `failures` are the promises that it breaks."""
    row: dict[str, Any] = {"space": name, "number": number, "failures": [], "genome": ""}
    try:
        space = space_of(name)
        genome = _bred(name, space, number) if number % 2 else space.sample(np.random.default_rng([number, 1]))
        row["genome"] = json.dumps(genome.to_dict())
        of = _problem_of(space)
        cost = cost_of(genome, of)
        row |= {"genes": space.length(genome), "layers": len(genome.layers), "parameters": cost.parameters}
        row["kinds"] = sorted({type(layer).__name__ for layer in genome.layers})
        row["failures"] = broken_promises(genome, space)
        if number % _CLEARED == 0:
            clear_models()
    except Exception as error:  # noqa: BLE001 – that none is raised is a promise too
        last = traceback.extract_tb(error.__traceback__)[-1]
        row["failures"].append(f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}: {error}")
    return row


def broken_promises(genome: Genome, space: SearchSpace) -> list[str]:
    """Return in words what is wrong with a network that should be in a space."""
    return [*_broken_in_space(genome, space), *_broken_forms(genome), *_broken_in_keras(genome, _problem_of(space))]


def clear_models() -> None:
    """Let Keras forget the models of this process; this takes longer than to check one."""
    import keras

    keras.backend.clear_session()


def _bred(name: str, space: SearchSpace, number: int) -> Genome:
    """Return a descendant of sampled networks, or of those for which the space was widened."""
    rng = np.random.default_rng([number, 2])
    given = _PARENTS[name][1] if name in _PARENTS else []
    genomes = [*given, *(space.sample(rng) for _ in range(3))]
    parents = [Offspring(genome, (Individual(i, genome),)) for i, genome in enumerate(genomes)]
    variation = Variation(space)
    rates = OperatorRates(variation.priors).current()
    for _ in range(int(rng.integers(1, 4))):  # generations
        bred = list(variation.breed(parents, rates, 2, 3, rng))
        parents = [Offspring(space.repair(one.genome, rng), one.parents, one.origin) for one in bred]
    return parents[0].genome


def _problem_of(space: SearchSpace) -> Problem:
    assert space.rules is not None
    return space.rules.problem


def _broken_in_space(genome: Genome, space: SearchSpace) -> Iterator[str]:
    if wrong := space.violation(genome):
        yield f"is not in its space: {wrong}"
    if space.repair(genome, np.random.default_rng(0)).genes != genome.canonical().genes:
        yield "is repaired to another network"


def _broken_forms(genome: Genome) -> Iterator[str]:
    canonical, folded = genome.canonical(), genome.folded()
    if Genome(canonical.genes).canonical().genes != canonical.genes:
        yield "its canonical form has another canonical form"
    if len(folded) > len(canonical) or Genome(folded.genes).canonical().genes != canonical.genes:
        yield "is another network with cells"
    if Genome(folded.genes).folded().genes != folded.genes:
        yield "its form with cells is folded again"
    for form in (genome, canonical, folded):
        again = Genome.from_dict(json.loads(json.dumps(form.to_dict())))
        if again.key != genome.key or again.genes != form.genes:
            yield "is read back as another network"


def _broken_in_keras(genome: Genome, of: Problem) -> Iterator[str]:

    from menndl_dask.genome.keras_model.decoder import decode
    from menndl_dask.genome.keras_model.encoder import encode

    model = decode(genome, of, seed=1)
    try:
        encoded = encode(model)
    except MenndlError as error:
        yield f"its model is not encoded: {error}"
    else:
        plain = Genome(genome.layers).canonical()
        if encoded.genes != plain.genes or encoded.key != plain.key:
            yield f"its model is encoded as another network: {json.dumps(encoded.to_dict())}"
    if model.count_params() != cost_of(genome, of).parameters:
        yield f"expected {cost_of(genome, of).parameters} weights, got {model.count_params()}"
    size = of.facts.input_shapes[0][:-1] if of.task == "segmentation" else ()
    expected = (*size, of.facts.outputs)
    if tuple(model.output.shape[1:]) != expected:
        yield f"expected an output of shape {expected}, got {model.output.shape[1:]}"
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(2, *shape)).astype("float32") for shape in of.facts.input_shapes]
    predicted = np.asarray(model(images if len(images) > 1 else images[0], training=False))
    if not np.isfinite(predicted).all():
        yield "predicts numbers that are not finite"


def _summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    kinds = Counter(kind for row in rows for kind in row.get("kinds", ()))
    whole = [row for row in rows if "genes" in row] or [{"genes": 0, "layers": 0, "parameters": 0}]
    broken = sum(bool(row["failures"]) for row in rows)
    return [
        str(len(rows)),
        f"{median(row['genes'] for row in whole):g}",
        str(max(row["layers"] for row in whole)),
        str(len(kinds)),
        f"{median(row['parameters'] for row in whole):,.0f}",
        str(broken or "none"),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
