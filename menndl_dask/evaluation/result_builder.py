"""The result builder: the messages of a training, so that a killed one has a result. Runs in the trainer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from menndl_dask.result import Result


class ResultBuilder:
    """Builds the result of an evaluation from its messages; times are seconds on the machine's monotonic clock.

    A message is a dict with some of these keys: ``phase`` and ``at`` (the phase that begins, and when), ``costs``,
    ``metrics``, ``point`` (of the learning curve), ``restarted`` (why the training starts again, which clears curve and
    metrics), ``resumed`` (from where the training continues, with the ``curve`` up to there and the ``seconds`` it had
    taken), ``remark`` (anything else), and at the end ``fitness``, or ``failure``, ``message`` and ``trace``.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.phase = "start"
        self.outcome: dict[str, Any] = {}  # fitness, or failure and message; empty until it is known
        self.trace = ""  # of the failure, if any
        self._since = time.monotonic()
        self._costs: dict[str, float] = {}
        self._metrics: dict[str, float] = {}
        self._curve: list[Mapping[str, float]] = []
        self._times: dict[str, float] = {}
        self._earlier_seconds = 0.0  # of training in another process
        self._remarks: list[str] = []

    def seconds(self, now: float) -> float:
        """Return the seconds that the evaluation has taken until now."""
        return sum(self._times.values()) + now - self._since

    @property
    def is_complete(self) -> bool:
        """Whether the outcome is known."""
        return bool(self.outcome)

    def update(self, message: Mapping[str, Any]) -> None:
        """Add a message."""
        if "phase" in message:
            self._close_phase(message["at"])
            self.phase = message["phase"]
        if "restarted" in message:
            self._metrics.clear()
            self._curve.clear()
        if "resumed" in message:
            self._curve, self._earlier_seconds = list(message["curve"]), message["seconds"]
        self._remarks += [message[key] for key in ("restarted", "remark", "resumed") if key in message]
        self._costs.update(message.get("costs", {}))
        self._metrics.update(message.get("metrics", {}))
        if "point" in message:
            self._curve.append(message["point"])
        self.trace = message.get("trace", self.trace)
        self.outcome.update({k: message[k] for k in ("fitness", "failure", "message") if k in message})

    def fail(self, failure: str, message: str) -> None:
        """Set the outcome to a failure, unless the outcome is known."""
        if not self.is_complete:
            self.outcome = {"failure": failure, "message": message}

    def result(self) -> Result:
        """Return the result; a failed one keeps its costs, its curve and its last fitness as a metric."""
        self._close_phase(time.monotonic())
        metrics = dict(self._metrics)
        if self.outcome.get("failure") and self._curve:
            metrics["fitness"] = self._curve[-1]["fitness"]
        costs = dict(self._costs)
        if "train" in self._times:
            costs["train_seconds"] = self._earlier_seconds + self._times["train"]
        outcome = dict(self.outcome)
        if self._remarks:
            outcome["message"] = "; ".join(filter(None, (outcome.get("message"), *self._remarks)))
        curve = tuple(self._curve)
        return Result(**outcome, costs=costs, metrics=metrics, curve=curve, times=self._times, seed=self.seed)

    def _close_phase(self, now: float) -> None:
        self._times[self.phase] = self._times.get(self.phase, 0.0) + now - self._since
        self._since = now
