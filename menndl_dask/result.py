"""The result of an evaluation: one typed record for every outcome. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

FAILURES: dict[str, str] = {
    "infeasible": "no network can be built from the genome, or it exceeds a limit of the search space",
    "no_learning": "after a part of the budget it was no better than the constant predictor",
    "pruned": "at a rung it was clearly behind the networks before it, and was stopped",
    "diverged": "the loss became NaN or infinite",
    "out_of_memory": "the training needed more memory than it may have",
    "timed_out": "the evaluation took longer than it may take",
    "killed": "the evaluation's process died by a signal",
    "worker_lost": "workers were lost again and again while they evaluated it",
    "error": "an exception, of the user's own loss, metric or gene kind or of the framework",
}
_FORMER_FAILURES = {"hopeless": "pruned"}  # names of version 0.1.0


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of an evaluation.

    A result has either a fitness or a failure; one without a fitness can never win a comparison.

    Parameters
    ----------
    fitness
        The problem's metric on the validation split, larger is better.
    failure
        A key of `FAILURES`; None if the evaluation succeeded.
    message
        The failure in words; of a success, remarks.
    costs
        ``parameters``, ``flops_forward`` (a sample), ``flops_training`` (all steps), ``latency_ms`` (a sample),
        ``memory_bytes`` (peak), ``train_seconds``, …
    metrics
        Further metrics on the validation split, such as ``loss``; of an unfinished training also its ``fitness``.
    curve
        One record for each validation during the training: ``epoch``, ``share`` (of the budget), ``seconds``, ``loss``,
        ``val_loss``, ``fitness``.
    times
        Seconds of each phase: ``start``, ``data``, ``build``, ``train``, ``measure``, ``total``.
    worker
        Host and process of the evaluation.
    seed
        Random seed of the training.
    """

    fitness: float | None = None
    failure: str | None = None
    message: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[Mapping[str, float], ...] = ()
    times: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.failure is not None and self.failure not in FAILURES:
            raise ValueError(f"failure: expected one of {', '.join(FAILURES)}, got {self.failure!r}")
        if self.failure is None and (self.fitness is None or not math.isfinite(self.fitness)):
            # a NaN cannot be compared: a fitness that is not a number is a failure
            object.__setattr__(self, "message", self.message or f"fitness: expected a number, got {self.fitness}")
            object.__setattr__(self, "failure", "diverged")
        if self.failure is not None:
            object.__setattr__(self, "fitness", None)

    @classmethod
    def failed(cls, failure: str, message: str = "", **values: Any) -> Self:
        """Return the result of a failed evaluation."""
        return cls(fitness=None, failure=failure, message=message, **values)

    @property
    def succeeded(self) -> bool:
        """Whether the evaluation has a fitness."""
        return self.failure is None

    def as_if_finished(self) -> Result:
        """Return the result of a training that was stopped at a rung with its last fitness as the final one."""
        return replace(self, failure=None, fitness=self.metrics.get("fitness"))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a plain dict for JSON, without empty values."""
        record = {name: getattr(self, name) for name in _FIELDS}
        record["curve"] = [dict(point) for point in self.curve]
        plain = {name: dict(v) if isinstance(v, Mapping) else v for name, v in record.items()}
        return {name: v for name, v in plain.items() if v not in (None, "", {}, [])}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a result back; unknown keys, such as those of other versions, are ignored."""
        values = {k: v for k, v in data.items() if k in _FIELDS}
        values["curve"] = tuple(values.get("curve", ()))
        if values.get("failure") in _FORMER_FAILURES:
            values["failure"] = _FORMER_FAILURES[values["failure"]]
        return cls(**values)


_FIELDS = tuple(each.name for each in fields(Result))
