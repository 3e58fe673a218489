"""Random networks: the share that learns within a short training, and what they cost.

    python -m benchmarks.random_networks
    python -m benchmarks.random_networks --networks 60 --sets digits fashion=fashion_mnist.npz stem=stem.npz

Networks are drawn from the default search space, and from one with the same domains in which every window and stride
is as likely as every other one: random networks of the default space have the usual ones. ``digits`` are those of
scikit-learn. Another set is an ``.npz`` file with images and labels: of a class each, or of each pixel. A network has
learned if its balanced accuracy on images that it was not trained on is more than five percentage points above that of
a constant prediction. All are trained for the same number of steps, in this process and one after the other.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.problem import Budget, Facts, Problem
from menndl_dask.space.space import SearchSpace

_MARGIN = 0.05  # of the balanced accuracy above that of a constant prediction
_COSTED = 2000  # networks whose cost is computed
_LARGEST = 48  # pixels of a side; larger images are divided

Arrays = tuple[Any, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=60, help="trained of each space")
    parser.add_argument("--costed", type=int, default=_COSTED, help="whose cost is computed, of each space")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--sets", nargs="+", default=["digits"], help="digits, or NAME=FILE.npz")
    options = parser.parse_args(arguments)
    for given in options.sets:
        name, _, file = given.partition("=")
        images, labels = _read(file)
        problem = _problem(images, labels, options.batch)
        shape = "×".join(map(str, images.shape[1:]))
        print(f"\n{name}: {len(images)} images of {shape}, {problem.task}, {problem.facts.outputs} classes\n")
        print("| space | valid | parameters 10/50/90 % | MFLOP 10/50/90 % | learned | accuracy |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for title, space in spaces(problem).items():
            row = [*costs(space, options.costed), *learned(space, problem, (images, labels), options)]
            print(f"| {title} | {' | '.join(row)} |", flush=True)
    print(f"\nPython {platform.python_version()}, {time.strftime('%d %B %Y')}")
    return 0


def spaces(problem: Problem) -> dict[str, SearchSpace]:
    """Return the default space, and the one that draws all values of its domains."""
    default = SearchSpace.image(problem)
    assert default.rules is not None
    wide = {kind: {name: default.domain(kind, name) for name in names} for kind, names in default.rules.usual.items()}
    return {"usual windows and strides (default)": default, "all": SearchSpace.image(problem, ranges=wide)}


def costs(space: SearchSpace, count: int) -> list[str]:
    """Return the share of valid networks, and quantiles of the cost."""
    assert space.rules is not None
    drawn = [space.sample(np.random.default_rng([1, seed])) for seed in range(count)]
    found = [cost_of(genome, space.rules.problem) for genome in drawn]
    parameters = np.quantile([cost.parameters for cost in found], [0.1, 0.5, 0.9])
    flops = np.quantile([cost.flops_forward / 1e6 for cost in found], [0.1, 0.5, 0.9])
    valid = sum(space.contains(genome) for genome in drawn)
    return [
        f"{100 * valid / len(drawn):.1f} %",
        " / ".join(f"{value:,.0f}" for value in parameters),
        " / ".join(f"{value:.2g}" for value in flops),
    ]


def learned(space: SearchSpace, problem: Problem, data: Arrays, options: argparse.Namespace) -> list[str]:
    """Return how many of the networks learned, and quantiles of their balanced accuracy."""
    accuracies = []
    for seed in range(options.networks):
        genome = space.sample(np.random.default_rng([2, seed]))
        accuracies.append(_trained(genome, problem, data, options.steps, seed))
    constant = 1.0 / problem.facts.outputs
    successes = sum(accuracy > constant + _MARGIN for accuracy in accuracies)
    low, middle, high = np.quantile(accuracies, [0.25, 0.5, 0.75]) if accuracies else (0.0, 0.0, 0.0)
    return [f"{successes} of {len(accuracies)}", f"{low:.2f} / {middle:.2f} / {high:.2f}"]


def _trained(genome: Genome, problem: Problem, data: Arrays, steps: int, seed: int) -> float:
    """Return the balanced accuracy of a network on a third of the images, after a training with the others."""
    import keras

    from menndl_dask.genome.keras_model.decoder import decode

    images, labels = data
    cut = len(images) * 2 // 3
    keras.utils.set_random_seed(seed)
    model = decode(genome, problem, seed)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(cut, size=steps * problem.budget.batch_size)
    model.fit(images[chosen], labels[chosen], problem.budget.batch_size, epochs=1, shuffle=False, verbose=0)
    found = np.argmax(model.predict(images[cut:], problem.budget.batch_size, verbose=0), -1)
    keras.backend.clear_session()
    truth = labels[cut:]
    return float(np.mean([np.mean(found[truth == c] == c) for c in np.unique(truth)]))


def _read(file: str) -> Arrays:
    """Return images and labels in random order."""
    if not file:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images = images.reshape(-1, 8, 8)
    else:
        with np.load(file) as stored:
            images, labels = (stored[next(n for n in two if n in stored)] for two in (("x", "image"), ("y", "label")))
    if labels.ndim > 1 and images.shape[1] > _LARGEST:
        images, labels = images[:, :_LARGEST, :_LARGEST], labels[:, :_LARGEST, :_LARGEST]
    order = np.random.default_rng(0).permutation(len(images))
    return images[order, ..., None].astype("float32"), labels[order].astype("int64")


def _problem(images: Any, labels: Any, batch: int) -> Problem:
    mean, variance = float(images.mean()), float(images.var())
    outputs = int(labels.max()) + 1
    facts = Facts(input_shapes=(images.shape[1:],), outputs=outputs, mean=((mean,),), variance=((variance,),))
    task = "segmentation" if labels.ndim > 1 else "classification"
    return replace(Problem("nowhere.zarr", task, facts), budget=Budget(epochs=1, batch_size=batch))


if __name__ == "__main__":
    raise SystemExit(main())
