"""Made-up predictions for test splits, for tests of what is shown of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from menndl_dask.metric import Measure
from menndl_dask.problem import Problem
from menndl_dask.report.pictures.split_results import SplitResults
from menndl_dask.training.scoring.examples import Examples
from tests.problems import problem


def pixels(size: int = 24, channels: int = 1) -> Problem:
    """Return a problem of pixels; class 0 is the most frequent one."""
    of = problem("segmentation", ((size, size, channels),))
    return replace(of, facts=replace(of.facts, class_counts=(200, 50, 50)))


def volumes() -> Problem:
    """Return a problem of voxels."""
    return problem("segmentation", ((10, 20, 30, 1),))


def classes() -> Problem:
    """Return a problem of classes."""
    return problem()


def values() -> Problem:
    """Return a problem of two values."""
    return problem("regression", outputs=2)


@cache
def results_of(of: Problem) -> SplitResults:
    """Return what a report shows of a test split: of a good network, and of the standard one, which is worse."""
    count, rng = 20, np.random.default_rng(0)
    images = rng.random((count, *of.facts.input_shapes[0])).astype(np.float32)
    shape = of.facts.input_shapes[0][:-1] if of.task == "segmentation" else ()
    examples = Examples(of, count)
    found = []
    for noise in (1.0, 2.0):
        if of.task == "regression":
            labels = rng.normal(size=(count, of.facts.outputs))
            said = labels + 0.1 * noise * rng.normal(size=labels.shape)
        else:
            labels = rng.integers(0, of.facts.outputs, (count, *shape))
            said = np.exp(2.5 * np.eye(of.facts.outputs)[labels] + noise * rng.normal(size=(*labels.shape, 3)))
            said /= said.sum(axis=-1, keepdims=True)
        if noise == 1.0:
            examples.update(np.arange(count), labels, said, lambda: images)
        sums = []
        for sample in range(count):
            measure = Measure(of.metric_name, outputs=of.facts.outputs)
            measure.update(labels[sample : sample + 1], said[sample : sample + 1])
            sums.append(measure.sums())
        found.append(np.stack(sums))
    arrays = {**examples.arrays(), "source": examples.units}
    return SplitResults("network 5", arrays, list(zip(("network 5", "U-Net"), found, strict=True)))


def of_content(of: Problem) -> dict[str, Any]:
    """Return the fields of the content of a report that are about a test split."""
    return {"problem": of, "split_results": results_of(of)}
