"""What decides the quality of a search in the image space: tables from networks that were really trained.

    python -m benchmarks.image_space benchmarks/trained_chips.jsonl.gz
    python -m benchmarks.image_space benchmarks/trained_chips.jsonl.gz --searches 20 --seconds 600 1800 7200

`benchmarks.trained_networks` makes the table. Printed are: what the trainings were; how well a measure on some scenes
ranks networks on others; how well the fitness on the way ranks them; what choosing finalists by a smoothed fitness
gains; how well fitness is predicted from the genome; and optimizers on a landscape made of that prediction, with the
noise and the training times that were measured.

A scene is a group of samples, such as the chips of a patch. For the measures the held-out scenes are divided at random,
again and again: one half is what a search sees, and the other half what counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, cross_val_predict

from benchmarks.search_quality import OPTIMIZERS
from benchmarks.simulation import Outcome, simulate
from benchmarks.trained_networks import DECAYS, read_lines
from menndl_dask.evolution.surrogate.acquisition import Observation
from menndl_dask.evolution.surrogate.features import Features
from menndl_dask.evolution.surrogate.training_set import TrainingSet
from menndl_dask.genome.cost import cost_of
from menndl_dask.genome.genome import Genome
from menndl_dask.objective import Objectives
from menndl_dask.problem import Problem
from menndl_dask.result import Result
from menndl_dask.space.space import SearchSpace

Floats = NDArray[np.float64]
_DIVISIONS = 300  # of the scenes
_MOST_LOSS = 1.0  # of a scene, for the bounded loss
_CHOSEN = 3  # finalists
_WEIGHTS = ("as they are", *(f"averaged, {decay:g}" for decay in DECAYS))


class Trainings:
    """The trainings of a table that succeeded: once each, and those that were repeated."""

    def __init__(self, path: Path) -> None:
        head, *rows = read_lines(path)
        self.head, self.all = head, rows
        self.problem = Problem.from_dict({**head["problem"], "data": "images.zarr"})
        self.space = SearchSpace.image(self.problem, **head["space"])
        self.rows = [row for row in rows if not row.get("failure") and row["longer"] == 1 and row["seed"] < 1000]
        self.again = [row for row in rows if not row.get("failure") and row["seed"] >= 1000]

    @cached_property
    def looks(self) -> Floats:
        """Share of the budget, then fitness and loss for each kind of weights, shape (networks, looks, 7)."""
        return np.array([row["looks"] for row in self.rows])

    @cached_property
    def scenes(self) -> Floats:
        """Accuracy and loss of each scene, shape (networks, weights, scenes, 2)."""
        return np.array([[np.concatenate(weights) for weights in row["by_group"]] for row in self.rows])

    @cached_property
    def validation(self) -> int:
        """Number of scenes for validation, the first ones."""
        return len(self.rows[0]["by_group"][0][0])

    @cached_property
    def genomes(self) -> list[Genome]:
        """Genomes of the networks."""
        return [Genome.from_dict(row["genome"]) for row in self.rows]

    @cached_property
    def searches(self) -> dict[str, list[int]]:
        """The networks of each search, in order."""
        found: dict[str, list[int]] = {}
        for i, row in enumerate(self.rows):
            found.setdefault(row["search"], []).append(i)
        return found


def what(trained: Trainings) -> None:
    """Print what the trainings were, search by search."""
    test = trained.scenes[:, 0, trained.validation :, 0].mean(1)
    fitness = trained.looks[:, -1, 1]
    failed = sum(bool(row.get("failure")) for row in trained.all)
    print(f"{len(trained.all)} trainings, {failed} failed; {trained.head['made']}\n")
    print("| search | networks | CPU s | validation: mean of first 20 | last 20 | best | test of the best | best 5 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, places in trained.searches.items():
        order = sorted(places, key=lambda i: -fitness[i])
        seconds = sum(trained.rows[i]["cpu_s"] for i in places)
        values = [
            fitness[places[:20]].mean(), fitness[places[-20:]].mean(), fitness[order[0]], test[order[0]],
            test[order[:5]].mean(),
        ]  # fmt: skip
        print(f"| {name} | {len(places)} | {seconds:.0f} | {' | '.join(f'{v:.3f}' for v in values)} |")


def measures() -> dict[str, Callable[[Floats], Floats]]:
    """Return measures of networks from accuracy and loss by scene, shape (networks, scenes, 2); larger is better."""
    return {
        "accuracy": lambda s: s[..., 0].mean(1),
        "loss": lambda s: -s[..., 1].mean(1),
        "loss of a scene, at most 1": lambda s: -np.minimum(s[..., 1], _MOST_LOSS).mean(1),
        "accuracy − 0.1 loss": lambda s: s[..., 0].mean(1) - 0.1 * s[..., 1].mean(1),
    }


def compare_measures(trained: Trainings) -> None:
    """Print how well each measure on half of the scenes ranks networks on the other half."""
    print("\n| measure | weights | rank correlation with accuracy elsewhere | accuracy of the best 3 elsewhere |")
    print("|---|---|---:|---:|")
    count = trained.scenes.shape[2]
    for title, measure in measures().items():
        for number, weights in enumerate(_WEIGHTS):
            rng = np.random.default_rng(0)
            found = []
            for _ in range(_DIVISIONS):
                order = rng.permutation(count)
                seen, other = order[: count // 2], order[count // 2 :]
                measured = measure(trained.scenes[:, number, seen])
                truth = trained.scenes[:, number, other, 0].mean(1)
                best = np.argsort(-measured, kind="stable")[:_CHOSEN]
                found.append((spearmanr(measured, truth)[0], truth[best].mean() - truth.mean()))
            correlation, gain = np.mean(found, axis=0)
            print(f"| {title} | {weights} | {correlation:.3f} | {gain:+.4f} |")


def compare_looks(trained: Trainings) -> None:
    """Print how well fitness and loss on the way rank the networks at the end, and on the test scenes."""
    print("\n| at | weights | fitness, with its end | with test | loss, with its end | with test |")
    print("|---:|---|---:|---:|---:|---:|")
    test = trained.scenes[:, 0, trained.validation :, 0].mean(1)
    for look, share in enumerate(trained.looks[0, :, 0]):
        for number, weights in enumerate(_WEIGHTS):
            cells = []
            for sign, column in ((1, 1 + 2 * number), (-1, 2 + 2 * number)):
                here, end = sign * trained.looks[:, look, column], sign * trained.looks[:, -1, column]
                cells += [f"{spearmanr(here, end)[0]:.2f}", f"{spearmanr(here, test)[0]:.2f}"]
            print(f"| {100 * share:.0f} % | {weights} | {' | '.join(cells)} |")


def compare_repeats(trained: Trainings) -> None:
    """Print how far two trainings of a network differ, and how well one ranks another and a longer one."""
    first = {(row["search"], row["number"]): row for row in trained.rows}
    for longer, title in ((1.0, "another seed"), (4.0, "four times the budget")):
        pairs = [(first[key], row) for row in trained.again
                 if row["longer"] == longer and (key := (row["search"], row["number"])) in first]  # fmt: skip
        if len(pairs) < 5:
            continue
        short = np.array([[row["looks"][-1][1], -row["looks"][-1][2]] for row, _ in pairs])
        other = np.array([[row["looks"][-1][1], *_test(row)] for _, row in pairs])
        print(f"\n{title}, {len(pairs)} networks: accuracy differs by {np.std(short[:, 0] - other[:, 0]):.4f} (1 SD); "
              f"rank correlation of validation accuracy {spearmanr(short[:, 0], other[:, 0])[0]:.2f}, "
              f"with its test accuracy {spearmanr(short[:, 0], other[:, 1])[0]:.2f}; "
              f"of the loss with that {spearmanr(short[:, 1], other[:, 1])[0]:.2f}")  # fmt: skip


def _test(row: dict[str, Any]) -> tuple[float, float]:
    accuracy, loss = np.mean(row["by_group"][0][1], axis=0)
    return float(accuracy), float(loss)


def compare_smoothing(trained: Trainings) -> None:
    """Print the test accuracy of finalists by fitness, and by the fitness that the surrogate believes in."""
    test = trained.scenes[:, 0, trained.validation :, 0].mean(1)
    print(f"\n| search | test accuracy of all | best {_CHOSEN} by fitness | by smoothed fitness | by loss | by both |")
    print("|---|---:|---:|---:|---:|---:|")
    sums = []
    for name, places in trained.searches.items():
        if len(places) < 20:
            continue
        fitness, loss = trained.looks[places, -1, 1], -trained.looks[places, -1, 2]
        smooth = _smoothed(trained, places, fitness)
        both = _smoothed(trained, places, fitness) + _smoothed(trained, places, loss)
        cells = [test[places].mean()]
        cells += [test[places][np.argsort(-by, kind="stable")[:_CHOSEN]].mean() for by in (fitness, smooth, loss, both)]
        sums.append(cells)
        print(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    if sums:
        print(f"| mean | {' | '.join(f'{cell:.3f}' for cell in np.mean(sums, axis=0))} |")


def _smoothed(trained: Trainings, places: Sequence[int], values: Floats) -> Floats:
    """Return what the surrogate believes of networks that it has seen."""
    known = TrainingSet(trained.space, Objectives())
    genomes = [trained.genomes[i] for i in places]
    for genome, value in zip(genomes, values, strict=True):
        known.add(Observation(genome, (float(value),)))
    model = known.model()
    assert model is not None
    return np.asarray(model.predict(known.features.cached(genomes)).mean[:, 0])


class Predicted:
    """A landscape: every network of the image space, with what trees predict from the trainings of a table."""

    name = "images"

    def __init__(self, trained: Trainings) -> None:
        self.space = trained.space
        self._features = Features(trained.space)
        points = self._features.of(trained.genomes)
        scenes = trained.scenes[:, 0, :, 0].mean(1)  # of all scenes: what a network is worth
        self._trees = ExtraTreesRegressor(300, min_samples_leaf=2, max_features=0.4, random_state=0)
        folds = KFold(min(10, len(trained.rows)), shuffle=True, random_state=0)
        predicted = cross_val_predict(self._trees, points, scenes, cv=folds)
        self.accuracy = 1 - np.var(scenes - predicted) / np.var(scenes)
        self.tau = float(kendalltau(predicted, scenes)[0])
        self._trees.fit(points, scenes)
        # what a search sees of a network: the mean of as many scenes as it has, after one training
        self.noise = float(np.std(trained.looks[:, -1, 1] - scenes - np.mean(trained.looks[:, -1, 1] - scenes)))
        flops = np.log([row["costs"]["flops_forward"] for row in trained.rows])
        seconds = np.log([row["cpu_s"] for row in trained.rows])
        self._time = np.polyfit(flops, seconds, 1)
        self._spread = float(np.std(seconds - np.polyval(self._time, flops)))
        self.best, self.floor, self.good = float(scenes.max()), float(scenes.min()), float(np.quantile(scenes, 0.99))
        self._known: dict[str, float] = {}

    def evaluate(self, genome: Genome, rng: np.random.Generator) -> Outcome:
        """Return the predicted value with noise."""
        if genome.key not in self._known:
            self._known[genome.key] = float(self._trees.predict(self._features.of([genome]))[0])
        truth = self._known[genome.key]
        cost = cost_of(genome, self.space.rules.problem)  # type: ignore[union-attr]
        seconds = np.exp(np.polyval(self._time, np.log(cost.flops_forward)) + self._spread * rng.standard_normal())
        costs = {"parameters": float(cost.parameters), "flops_forward": cost.flops_forward}
        return Outcome(Result(truth + self.noise * rng.standard_normal(), costs=costs), truth, float(seconds))


def compare_optimizers(landscape: Predicted, options: argparse.Namespace) -> None:
    """Print the value of the network with the best result after so many training seconds, optimizer by optimizer."""
    print(f"\nPredictor, 10-fold: R² {landscape.accuracy:.2f}, Kendall's τ {landscape.tau:.2f}; "
          f"noise of one evaluation {landscape.noise:.3f} (1 SD). {options.searches} searches, "
          f"{options.workers} workers.\n")  # fmt: skip
    print(f"| optimizer | {' | '.join(f'{s:g} s' for s in options.seconds)} |")
    print("|---|" + "---:|" * len(options.seconds))
    for name in options.optimizers:
        make = OPTIMIZERS[name]
        values = []
        for seed in range(options.searches):
            trace = simulate(make, landscape, options.evaluations, options.workers, seed)
            ends = np.array(trace.ends) * options.workers
            values.append([trace.truth[max(0, int(np.searchsorted(ends, s)) - 1)] for s in options.seconds])
        mean, error = np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values))
        print(f"| {name} | {' | '.join(f'{m:.4f} ± {e:.4f}' for m, e in zip(mean, error, strict=True))} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables that the command line describes."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--searches", type=int, default=0, help="simulated, of each optimizer")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, nargs="+", default=[300.0, 600.0, 1200.0])
    names = ["random search", "Optuna TPE", "screened GA", "Evolution"]
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), default=names)
    options = parser.parse_args(arguments)
    trained = Trainings(options.table)
    what(trained)
    compare_measures(trained)
    compare_looks(trained)
    compare_repeats(trained)
    compare_smoothing(trained)
    if options.searches:
        compare_optimizers(Predicted(trained), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
