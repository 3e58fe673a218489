"""The problem: which data, what is to be learnt from it, and how much training each network gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self, TypeVar

from menndl_dask.errors import UserError, nearest

TASKS = ("classification", "regression", "segmentation")
SPLITS = ("train", "validation", "test")
_T = TypeVar("_T")
_IMBALANCED = 3.0  # from this ratio of the largest to the smallest class on, plain accuracy misleads


@dataclass(frozen=True, slots=True)
class Budget:
    """How much training one evaluation gets: whichever of the three ends first, and how it is spent.

    Parameters
    ----------
    epochs, steps, seconds
        Passes over the training split, optimiser steps, seconds of training. At least one is needed.
    batch_size, optimizer, learning_rate, weight_decay
        Keras's own meaning; a `Training` gene in the genome takes precedence.
    early_verdict
        End a training that has learnt nothing after `verdict_share` of the budget.
    verdict_share
        Share of the budget (0 to 1) after which a network must beat the constant predictor.
    """

    epochs: float | None = None
    steps: int | None = None
    seconds: float | None = None
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    early_verdict: bool = True
    verdict_share: float = 0.34

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("epochs", "steps", "seconds")}
        if all(value is None for value in given.values()):
            raise UserError("budget: expected epochs, steps or seconds, got none of them")
        for name, value in {**given, "batch_size": self.batch_size, "learning_rate": self.learning_rate}.items():
            if value is not None and not (isinstance(value, (int, float)) and value > 0):
                raise UserError(f"budget: {name}: expected a number > 0, got {value!r}")
        if not 0 < self.verdict_share <= 1:
            raise UserError(f"budget: verdict_share: expected a number in (0, 1], got {self.verdict_share!r}")

    def times(self, factor: float) -> Budget:
        """Return a budget that is longer by a factor, for the retraining of the best network."""
        return replace(
            self,
            epochs=None if self.epochs is None else self.epochs * factor,
            steps=None if self.steps is None else max(1, round(self.steps * factor)),
            seconds=None if self.seconds is None else self.seconds * factor,
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may use at most; past a limit its process is ended.

    Parameters
    ----------
    seconds
        Wall time of the whole evaluation, start-up and compilation included.
    memory_bytes
        Resident memory of the evaluation's process.
    """

    seconds: float = 3600.0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the data itself says, read once and frozen into the run.

    Parameters
    ----------
    input_shapes
        For each view the spatial sizes and the number of channels: ``(y, x, channel)``.
    outputs
        Number of classes, or of values to predict.
    classes
        Names of the classes; empty for regression.
    class_counts
        Samples (pixels for segmentation) of each class in the training split.
    samples
        Number of samples in the training, validation and test split.
    mean, variance
        For each view and channel, over the training split.
    label_mean, label_variance
        For regression: of each value to predict, over the training split.
    constant_fitness
        Fitness on the validation split of the best predictor that ignores the image; nothing where the metric is
        not one of ours, so that it is unknown before Keras runs.
    fingerprint
        Hash of the data's metadata and of a sample of its values.
    """

    input_shapes: tuple[tuple[int, ...], ...]
    outputs: int
    classes: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    samples: tuple[int, int, int] = (0, 0, 0)
    mean: tuple[tuple[float, ...], ...] = ()
    variance: tuple[tuple[float, ...], ...] = ()
    label_mean: tuple[float, ...] = ()
    label_variance: tuple[float, ...] = ()
    constant_fitness: float | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be learnt from which images. Made by `open_problem`, which reads the facts from the data.

    Parameters
    ----------
    data
        Path or URL of the Zarr store.
    task
        ``classification`` (a label for each sample), ``regression`` (numbers for each sample) or
        ``segmentation`` (a label for each pixel).
    facts
        What the data says.
    inputs
        Names of the variables with the images; several are several views of the same sample.
    label
        Name of the variable with the labels.
    loss, metric
        A name of ours or of Keras, or ``module:function`` for one of the user's own; by default what suits the
        task and the balance of the classes (see `loss_name`, `metric_name`). The metric is the fitness.
    metric_mode
        Whether a larger (``max``) or a smaller (``min``) metric is better.
    ignore
        Label value of pixels or samples that count for nothing.
    class_weight
        ``auto`` (``sqrt`` for segmentation and for imbalanced classes), ``balanced`` (inverse frequency), ``sqrt`` (its
        root), ``none``, or a weight for each class.
    group
        Coordinate whose samples must stay together in one split (a scene, a patient, a microscope session).
    objectives
        What selection compares: ``fitness`` (larger is better) and costs (smaller is better).
    budget
        Training of each network.
    seed
        Of the split, and of everything random in an evaluation.
    """

    data: str
    task: str
    facts: Facts
    inputs: tuple[str, ...] = ("image",)
    label: str = "label"
    loss: str | None = None
    metric: str | None = None
    metric_mode: str = "max"
    ignore: int | None = None
    class_weight: str | tuple[float, ...] = "auto"
    group: str | None = None
    objectives: tuple[str, ...] = ("fitness",)
    budget: Budget = field(default_factory=lambda: Budget(epochs=10))
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UserError(f"task: expected one of {', '.join(TASKS)}, got {self.task!r}{nearest(self.task, TASKS)}")
        if self.metric_mode not in ("max", "min"):
            raise UserError(f"metric_mode: expected 'max' or 'min', got {self.metric_mode!r}")
        weights = self.class_weight
        if isinstance(weights, str) and weights not in ("auto", "balanced", "sqrt", "none"):
            expected = "auto, balanced, sqrt, none or a weight for each class"
            raise UserError(f"class_weight: expected {expected}, got {weights!r}")
        if not isinstance(weights, str) and len(weights) != self.facts.outputs:
            expected = f"{self.facts.outputs} weights, one for each class"
            raise UserError(f"class_weight: expected {expected}, got {len(weights)}")

    @property
    def rank(self) -> int:
        """Number of spatial axes of the images."""
        return len(self.facts.input_shapes[0]) - 1

    @property
    def is_imbalanced(self) -> bool:
        """Whether the largest class is more than three times the smallest."""
        counts = [c for c in self.facts.class_counts if c > 0]
        return bool(counts) and max(counts) > _IMBALANCED * min(counts)

    @property
    def loss_name(self) -> str:
        """The loss: the user's, else weighted cross-entropy, or the mean squared error for regression."""
        if self.loss is not None:
            return self.loss
        return "mean_squared_error" if self.task == "regression" else "weighted_crossentropy"

    @property
    def metric_name(self) -> str:
        """The metric that is the fitness: the user's, else the one that suits the task.

        Segmentation: intersection over union, the mean over the classes that occur (``mean_iou``); regression: the
        coefficient of determination (``r2``); classification: ``accuracy``, or the mean recall of the
        classes (``balanced_accuracy``) where they are imbalanced.
        """
        if self.metric is not None:
            return self.metric
        if self.task == "classification":
            return "balanced_accuracy" if self.is_imbalanced else "accuracy"
        return "r2" if self.task == "regression" else "mean_iou"

    def class_weights(self) -> tuple[float, ...]:
        """Return a weight for each class, with mean 1 over the training samples; empty for regression."""
        if self.task == "regression":
            return ()
        if not isinstance(self.class_weight, str):
            return tuple(self.class_weight)
        kind = self.class_weight
        if kind == "auto":
            kind = "sqrt" if self.task == "segmentation" or self.is_imbalanced else "none"
        counts = self.facts.class_counts
        power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
        raw = [c ** -power if c > 0 else 0.0 for c in counts]
        total = sum(w * c for w, c in zip(raw, counts, strict=True))
        return tuple(w * sum(counts) / total for w in raw) if total else (1.0,) * self.facts.outputs

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as a plain dict that JSON and YAML can hold."""
        return _plain(asdict(self))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a problem back; raises `UserError` for an unknown key."""
        values = dict(data)
        values["facts"] = _read(Facts, values["facts"])
        values["budget"] = _read(Budget, values["budget"])
        return _read(cls, values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, (list, tuple)) else value


def _read(kind: type[_T], data: Mapping[str, Any]) -> _T:
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise UserError(f"{kind.__name__.lower()}: unknown key {key!r}{nearest(key, known)}")
    return kind(**{k: _frozen(v) for k, v in data.items()})
