"""A training as a search does it, with exponential averages of its weights beside it. Runs in a process of its own.

Only for `benchmarks.trained_networks`: the averages cost time, and each is scored at each look.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from benchmarks.trained_networks import DECAYS
from menndl_dask import Limits
from menndl_dask.data.staged_samples import open_staged
from menndl_dask.metric import to_fitness
from menndl_dask.training import training
from menndl_dask.training.failure import outcome_of
from menndl_dask.training.request import TrainingRequest
from menndl_dask.training.tensorflow_loop import GraphLoop

_GROUP = 64  # samples, those of one patch of chips

_loops: list[_AveragingLoop] = []


class _AveragingLoop(GraphLoop):
    """Steps that also update averages; `swapped` puts one of them in place of the weights, and back."""

    def __init__(self, model: keras.Model, *arguments: Any, **named: Any) -> None:
        self._own = [v.value for v in model.variables if v.dtype.startswith("float") and "seed" not in v.path]
        self._averages = [[tf.Variable(value) for value in self._own] for _ in DECAYS]
        self._count = tf.Variable(0.0)
        super().__init__(model, *arguments, **named)
        _loops.append(self)

    def _take_step(self, images: list[Any], labels: Any) -> Any:
        loss = super()._take_step(images, labels)
        self._count.assign_add(1.0)
        for decay, averages in zip(DECAYS, self._averages, strict=True):
            now = tf.minimum(decay, self._count / (self._count + 2.0))
            for average, value in zip(averages, self._own, strict=True):
                average.assign(now * average + (1.0 - now) * value)
        return loss

    def swap(self, number: int) -> None:
        """Exchange the weights with the average of that number."""
        for average, value in zip(self._averages[number], self._own, strict=True):
            kept = tf.identity(value)
            value.assign(average)
            average.assign(kept)


class _Recorded(training._Evaluation):
    """Scores the averages at each validation too."""

    def run(self) -> float:
        """Build, train and measure the network, the averages on the test split too."""
        self.looks: list[list[float]] = []
        fitness = super().run()
        by_group = [self._by_group()]
        for number in range(len(DECAYS)):
            _loops[-1].swap(number)
            by_group.append(self._by_group())
            _loops[-1].swap(number)
        self._tell(looks=self.looks, by_group=by_group)
        return fitness

    def _by_group(self) -> list[list[list[float]]]:
        """Return the accuracy and the loss of each group of samples, for validation and test."""
        found = []
        for split in ("validation", "test"):
            samples = open_staged(self._request.data, split)
            scores = []
            for start in range(0, len(samples), _GROUP):
                labels = np.asarray(samples.labels[start : start + _GROUP])
                predictions = self._loop.predict([np.asarray(v[start : start + _GROUP]) for v in samples.images])
                accuracy = float((predictions.argmax(-1) == labels).mean())
                scores.append([round(accuracy, 4), round(self._validator._loss_of(labels, predictions), 4)])
            found.append(scores)
        return found

    def _scored(self, split: Any) -> tuple[float, float]:
        scores = self._validator.validate(split)
        return to_fitness(self._problem, scores.value), scores.loss

    def _validate(self, schedule: Any) -> Any:
        scores, fitness = super()._validate(schedule)
        look = [schedule.share, fitness, scores.loss]
        for number in range(len(DECAYS)):
            _loops[-1].swap(number)
            look.extend(self._scored(self._validation))
            _loops[-1].swap(number)
        self.looks.append([round(value, 5) for value in look])
        return scores, fitness


class _Messages:
    """Takes the messages of a training."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"costs": {}}

    def send(self, message: Mapping[str, Any]) -> None:
        """Keep the costs and scores of a message."""
        self.found["costs"].update(message.get("costs", {}))
        self.found.update({name: message[name] for name in ("looks", "by_group") if name in message})


def run(genome: dict[str, Any], problem: dict[str, Any], data: str, seed: int) -> dict[str, Any]:
    """Train a network; return fitness or failure, costs, CPU seconds, looks, and scores of groups of samples."""
    training.make_loop = (
        lambda *given, is_timed: _AveragingLoop(  # type: ignore[assignment]
            *given[:5], given[6] if len(given) > 6 else None, is_timed
        )
    )
    started, messages = time.process_time(), _Messages()
    request = TrainingRequest(genome, problem, Limits(), seed, data=data)
    recorded: list[_Recorded] = []

    def work() -> float:
        recorded.append(_Recorded(request, cast(Any, messages)))
        return recorded[0].run()

    outcome = outcome_of(work)
    found = {name: outcome[name] for name in ("fitness", "failure") if outcome.get(name) is not None}
    if "failure" in found:
        found["message"] = str(outcome.get("message", ""))[:100]
    _loops.clear()
    recorded.clear()
    keras.backend.clear_session()
    gc.collect()
    costs = {name: float(value) for name, value in messages.found.pop("costs").items() if np.isfinite(value)}
    return {**found, **messages.found, "costs": costs, "cpu_s": round(time.process_time() - started, 2)}
