"""Test scores of predictors that are no networks, kept in a run beside those of its networks. Runs on the driver.

A linear model and a random forest learn from the same training images. A network that is not better than they are is
not worth its training.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menndl_dask import files
from menndl_dask.errors import DataError, RunError, one_line
from menndl_dask.problem import Problem
from menndl_dask.text import printable

logger = logging.getLogger(__name__)

FILE = "simple_predictors.json"  # in the folder of a run


@dataclass(frozen=True, slots=True)
class SimpleScore:
    """What a simple predictor reaches on the test split, in the metric of the problem."""

    about: str  # such as "a random forest of coarse images"
    value: float


def keep_simple_scores(directory: Path, problem: Problem) -> None:
    """Fit simple predictors and write their test scores to a run, unless they are written.

    Raises
    ------
    RunError
        If they cannot be written.
    """
    from menndl_dask.data.check.check import score_simple_predictors  # with SciPy, which a report does not need

    path = directory / FILE
    if path.exists():
        return
    try:
        found = score_simple_predictors(problem)
    except DataError as error:  # the workers may read what this machine cannot
        logger.warning("simple predictors are not scored on the test split: %s", error)
        return
    scores = {score.about: score.value for score in found if score.value is not None and math.isfinite(score.value)}
    try:
        files.write_text(path, json.dumps({"metric": problem.metric_name, "test": scores}, indent=1) + "\n")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from error


def read_simple_scores(directory: Path, problem: Problem) -> list[SimpleScore]:
    """Return the test scores of simple predictors, the best first; empty if they are not known.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    path = directory / FILE
    try:
        found: Any = json.loads(files.read_text(path))
        if found["metric"] != problem.metric_name:
            return []
        scores = [SimpleScore(printable(about, one_line=True), float(v)) for about, v in found["test"].items()]
    except FileNotFoundError:  # of an earlier version, not tested yet, or a metric of the user's own
        return []
    except Exception as error:
        again = "remove it: the comparison is shown without it"
        raise RunError(f"{path}: cannot be read: {one_line(error)}; {again}") from error
    sign = 1.0 if problem.metric_mode == "max" else -1.0
    return sorted(scores, key=lambda score: -sign * score.value)
