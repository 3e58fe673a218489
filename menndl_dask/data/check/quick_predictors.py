"""Quick scikit-learn predictors on a part of the samples: a baseline for networks. Runs on the driver.

A linear model and a random forest learn from coarse images (for sample labels) or from each pixel with its
neighbourhood (for pixel labels). The number of samples is limited, so that fitting takes seconds.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from menndl_dask.data.dataset import fill_missing
from menndl_dask.data.labels import LabelTable
from menndl_dask.data.resize import resize
from menndl_dask.data.splits import Positions, within
from menndl_dask.data.store.variable import Block
from menndl_dask.metric import BUILT_IN, Measure
from menndl_dask.moments import scale_of
from menndl_dask.problem import Problem

_MOST_SAMPLES = {"train": 2000, "validation": 1000, "test": 2000}
_MOST_WINDOWS = {"train": 48, "validation": 16, "test": 32}
_TRIES = 4  # random windows, of which the one with most classes is taken for training
_MOST_PIXELS = 20_000  # of all classes together, for training
_WINDOW = {1: 4096, 2: 128, 3: 32}  # pixels a side, by rank
_GRID = {1: 64, 2: 16, 3: 8}  # cells a side of the coarse images, by rank
_MOST_CHANNELS = 8
_LARGEST = 1e18
_TREES = 50
_TREES_AT_ONCE = 10
_MANY_CLASSES = "The number of unique classes"  # a warning of scikit-learn; the check has warnings of its own


@dataclass(frozen=True, slots=True)
class Score:
    """Value of the problem's metric on a split, None if it could not be computed, and the predictor."""

    name: str  # constant, linear or forest
    value: float | None
    about: str


class QuickPredictors:
    """Collects features and labels of a part of the samples in one pass, then fits the predictors.

    They learn from the training split and are scored on another one.
    """

    def __init__(
        self, problem: Problem, labels: LabelTable, parts: Mapping[str, Positions], blocks: Sequence[Block] = (),
        *, scored: str = "validation",
    ) -> None:  # fmt: skip
        self._problem, self._scored = problem, scored
        self._blocks = Counter(block.start for block in blocks if block.part is not None)  # in which a sample is read
        self._rng = np.random.default_rng(problem.seed)
        facts = problem.facts
        self._label_mean = np.asarray(facts.label_mean)
        self._label_scale = np.asarray(scale_of(facts.label_mean, facts.label_variance))
        most = _MOST_WINDOWS if problem.by_pixel else _MOST_SAMPLES
        splits = ("train", scored)
        self._wanted = {split: self._choose(parts[split], most[split], labels.strata(), split) for split in splits}
        self._gathered: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {split: [] for split in splits}

    def _choose(self, positions: Positions, most: int, strata: NDArray[np.int64], split: str) -> Positions:
        """Draw samples; for training with pixels, half of them from the images with the rarest classes."""
        shuffled = self._rng.permutation(positions)
        if self._problem.by_pixel and split == "train":
            rare = shuffled[np.argsort(-strata[shuffled], kind="stable")][: most // 2]
            shuffled = np.concatenate([rare, shuffled[~np.isin(shuffled, rare)]])
        return np.sort(shuffled[:most])

    def wants(self, block: Block) -> bool:
        """Tell whether some of the samples of a block are of use."""
        return any(len(within(wanted, block.start, block.stop)) for wanted in self._wanted.values())

    def update(self, block: Block, images: Sequence[NDArray[Any]], labels: NDArray[Any]) -> None:
        """Collect features and labels from samples, or from a part of one."""
        for split, wanted in self._wanted.items():
            inside = within(wanted, block.start, block.stop)
            if not len(inside):
                continue
            means = self._problem.facts.mean
            chosen = [fill_missing(values[inside], mean) for values, mean in zip(images, means, strict=True)]
            if self._problem.by_pixel:
                each = _MOST_WINDOWS[split] / len(wanted)
                if block.part is not None:  # some of the sample's parts have a window more
                    each /= self._blocks[block.start]
                    each = int(each + self._rng.random()) or float(not self._gathered[split])
                # by chance where the score is that of all pixels
                tries = _TRIES if split == "train" else 1
                self._gathered[split] += self._windows(chosen, labels[inside], math.ceil(each), tries)
            else:
                if self._problem.large_images is not None:
                    chosen = [self._resized(values) for values in chosen]
                self._gathered[split].append((coarse(chosen), labels[inside]))

    def _resized(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return images as features of equal number need them: all of one size."""
        grid = _GRID[images.ndim - 2]
        return np.stack([resize(image, (grid,) * (images.ndim - 2)) for image in images])

    def _windows(
        self, images: Sequence[NDArray[Any]], labels: NDArray[Any], each: int, tries: int
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield features and labels of windows of each image: the one with most classes of so many random ones.

        A large image has several windows, up to `each`.
        """
        size = _WINDOW[labels.ndim - 1]
        room = max(1, labels[0].size // size ** (labels.ndim - 1))
        for index in np.repeat(np.arange(len(labels)), min(room, each)).tolist():
            truth = labels[index]
            last = [max(1, length - size + 1) for length in truth.shape]
            starts = [[self._rng.integers(0, most) for most in last] for _ in range(tries)]
            windows = [tuple(slice(first, first + size) for first in corner) for corner in starts]
            window = max(windows, key=lambda drawn: self._variety(truth[drawn]))
            views = [values[index][window] for values in images if values.shape[1:-1] == truth.shape]
            yield neighbourhood(np.concatenate(views, axis=-1)), truth[window]

    def _variety(self, truth: NDArray[Any]) -> float:
        """Return how much the labels of a window differ: their number of classes, or the range of the values."""
        if self._problem.task != "regression":
            return len(np.unique(truth))
        known = truth[~np.isnan(truth)]
        return float(np.ptp(known)) if known.size else -1.0

    def scores(self, seconds: float = 5.0) -> list[Score]:
        """Fit the predictors, each within about `seconds`, and return their scores."""
        features, truth, weight = self._training_data()
        self._centre, self._scale = _standard(features)
        features = (features - self._centre) / self._scale
        seen = "each pixel and its neighbourhood" if self._problem.by_pixel else "coarse images"
        linear = _fit_linear(features, truth, weight)
        forest = _fit_forest(features, truth, weight, self._problem.seed, seconds)
        return [
            Score("linear", self._score(linear), f"a linear model of {seen}"),
            Score("forest", self._score(forest), f"a random forest of {seen}"),
        ]

    def _training_data(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        features, truth = self._flat("train")
        if self._problem.task == "regression":
            truth = (truth - self._label_mean) / self._label_scale
            if self._problem.by_pixel:
                chosen = self._rng.permutation(len(truth))[:_MOST_PIXELS]
                features, truth = features[chosen], truth[chosen]
            return features, truth.squeeze(-1) if truth.shape[-1] == 1 else truth, None
        share = max(1, _MOST_PIXELS // self._problem.facts.outputs)
        order = self._rng.permutation(len(truth))
        drawn = [order[truth[order] == c][:share] for c in np.unique(truth)]
        class_weights, number = self._problem.class_weights(), np.bincount(truth)
        weight = [np.full(len(d), class_weights[c] * number[c] / len(d)) for d in drawn for c in (int(truth[d[0]]),)]
        places = np.concatenate(drawn)
        return features[places], truth[places], np.concatenate(weight)

    def _flat(self, split: str) -> tuple[NDArray[Any], NDArray[Any]]:
        features = np.concatenate([f.reshape(-1, f.shape[-1]) for f, _ in self._gathered[split]])
        features = np.clip(features.astype(np.float64), -_LARGEST, _LARGEST)  # scikit-learn refuses larger ones
        if self._problem.task == "regression":
            values = np.concatenate([t.reshape(-1, len(self._label_mean)) for _, t in self._gathered[split]])
            known = ~np.isnan(values).any(axis=-1)
            return features[known], values[known]
        truth = np.concatenate([t.reshape(-1) for _, t in self._gathered[split]]).astype(np.int64)
        kept = truth != self._problem.ignore
        return features[kept], truth[kept]

    def _score(self, model: Any) -> float | None:
        features, truth = self._flat(self._scored)
        problem = self._problem
        name = problem.metric_name
        if name not in BUILT_IN or model is None or not len(truth):
            return None
        measure = Measure(name, outputs=problem.facts.outputs)
        features = (features - self._centre) / self._scale
        if problem.task == "regression":
            guess = np.asarray(model.predict(features)).reshape(truth.shape)
            measure.update(truth, guess * self._label_scale + self._label_mean)
        else:
            measure.update(truth, np.eye(problem.facts.outputs)[model.predict(features)])
        return measure.value()


def _standard(features: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each feature, and its standard deviation or 1 if it is constant.

    scikit-learn's trees take features that differ by less than 1e-7 for equal: images in metres have such values.
    """
    means = features.mean(axis=0)
    return means, np.asarray(scale_of(means.tolist(), features.var(axis=0).tolist()))


def coarse(images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Return for each sample the means of a coarse grid of cells, and mean, std and range of each channel.

    Each view has the shape ``(sample, spatial…, channel)``.
    """
    columns = []
    for values in images:
        shown = values[..., : 4 * _MOST_CHANNELS]
        space = tuple(range(1, shown.ndim - 1))
        columns += [shown.mean(axis=space), shown.std(axis=space), shown.min(axis=space), shown.max(axis=space)]
        for axis in space:
            length = shown.shape[axis]
            edges = np.unique(np.linspace(0, length, _GRID[len(space)], endpoint=False).astype(int))
            sizes = np.diff([*edges, length]).reshape(-1, *(1,) * (shown.ndim - 1 - axis))
            shown = np.add.reduceat(shown, edges, axis=axis) / sizes
        columns.append(shown.reshape(len(shown), -1))
    return np.concatenate(columns, axis=1).astype(np.float32)


def neighbourhood(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return features of each pixel: its values, and mean and standard deviation of two neighbourhoods.

    The image is one sample ``(spatial…, channel)``; the features are ``(spatial…, feature)``.
    """
    shown = image[..., :_MOST_CHANNELS].astype(np.float64)
    columns = [shown]
    for width in (3, 7):
        box = (*(width,) * (shown.ndim - 1), 1)  # each channel by itself
        mean = uniform_filter(shown, box, mode="nearest")
        columns += [mean, np.sqrt(np.maximum(uniform_filter((shown - mean) ** 2, box, mode="nearest"), 0))]
    return np.concatenate(columns, axis=-1).astype(np.float32)


def _fit_linear(features: NDArray[Any], truth: NDArray[Any], weight: NDArray[Any] | None) -> Any:
    """Return a fitted linear model, of classes if the samples have weights; None if there is only one class."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, RidgeCV

    if weight is None:
        return RidgeCV(np.logspace(-3, 4, 15)).fit(features, truth)
    if len(np.unique(truth)) < 2:
        return None
    model = LogisticRegression(max_iter=200, C=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # limited time matters more than convergence
        warnings.filterwarnings("ignore", _MANY_CLASSES)
        return model.fit(features, truth, sample_weight=weight)


def _fit_forest(
    features: NDArray[Any], truth: NDArray[Any], weight: NDArray[Any] | None, seed: int, seconds: float
) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if weight is None else RandomForestClassifier
    model = kind(n_estimators=_TREES_AT_ONCE, warm_start=True, min_samples_leaf=2, random_state=seed)
    end = time.monotonic() + seconds
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _MANY_CLASSES)
        while True:
            model.fit(features, truth, sample_weight=weight)
            if model.n_estimators >= _TREES or time.monotonic() > end:
                return model
            model.n_estimators += _TREES_AT_ONCE
