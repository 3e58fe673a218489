"""The problem: the data, the task, and the training that each network gets. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from menndl_dask.change import MOVES, Change, read_change
from menndl_dask.errors import UserError
from menndl_dask.own_code import is_reference
from menndl_dask.text import html_summary, metric_title
from menndl_dask.validation import check_types, check_values, checked, number, one_of, or_none, read, shown

WEIGHTED_CROSSENTROPY = "weighted_crossentropy"  # our own loss
UNITS = ("epochs", "steps", "seconds", "flops")  # of a budget
TASKS = ("classification", "regression", "segmentation")
SPLITS = ("train", "validation", "test")
PRECISIONS = ("float32", "bfloat16", "float16")
SCHEDULES = ("cosine", "constant")
BACKENDS = ("tensorflow", "jax", "torch")
NORMALISATIONS = ("channel", "clip", "none")
LARGE_IMAGES = ("vote", "mean", "resize")
# our own losses of classes
LOSSES = (WEIGHTED_CROSSENTROPY, "dice", "dice_crossentropy", "focal", "tversky")
_LOSS_AMOUNTS = {"focal": 2.0, "tversky": 0.3}  # unless said otherwise: gamma, alpha
# losses that count every class alike, however rare it is
_BALANCED_LOSSES = ("dice", "dice_crossentropy", "tversky")
# fields of budgets in runs of version 0.1.0
_FORMER = {"early_verdict": "early_stopping", "verdict_share": "early_stopping_share", "rung_pass": "rung_quantile"}
_REMOVED = ("inherit",)
_POSITIVE, _SHARE = number(above=0), number(above=0, most=1)
_IMBALANCED = 3.0  # from this ratio of the largest to the smallest class on, plain accuracy misleads


@dataclass(frozen=True, slots=True)
class Budget:
    """The training that one evaluation gets: its length, in the unit that is used up first, and its settings.

    Parameters
    ----------
    epochs, steps, seconds
        Passes over the training split, optimiser steps, seconds of training.
    flops
        Floating-point operations of training: those of one sample, forward and backward, times the samples seen. At
        least one of the four is needed.
    batch_size, optimizer, learning_rate, weight_decay
        Keras's own meaning; a `Training` gene in the genome takes precedence.
    early_stopping
        Whether a training that has learnt nothing after `early_stopping_share` of the budget is ended.
    early_stopping_share
        Share of the budget (0 to 1) after which a network must be better than the constant predictor.
    rungs
        Shares of the budget at which a search compares a network with those before it, and ends it if it is clearly
        worse; empty to train every network that learns to its end.
    rung_quantile
        Share of the networks at a rung that are good enough to go on, the best ones; 1 turns this rule off.
    extrapolate
        Whether a network is ended at a rung from which no network has come near the best few so far.
    schedule
        Of the learning rate: ``cosine``, which falls to nearly zero at the end of the budget, or ``constant``.
    average_weights
        Whether a network is scored and saved with the average of its weights over the last part of the training.
    precision
        Numbers that layers compute with: ``float32``, or ``bfloat16`` or ``float16`` with weights, normalisation,
        head and loss in float32. A network that diverges in these is trained again in float32.
    deterministic
        Whether the same seed gives the same bits on the same kind of machine.
    backend
        Of Keras: ``tensorflow``, ``jax`` or ``torch``; by default what ``KERAS_BACKEND`` says on the worker, else
        ``tensorflow``.
    """

    epochs: float | None = checked(_POSITIVE, None)
    steps: int | None = checked(_POSITIVE, None)
    seconds: float | None = checked(_POSITIVE, None)
    flops: float | None = checked(_POSITIVE, None)
    batch_size: int = checked(_POSITIVE, 32)
    optimizer: str = "adam"
    learning_rate: float = checked(_POSITIVE, 1e-3)
    weight_decay: float = 0.0
    early_stopping: bool = True
    early_stopping_share: float = checked(_SHARE, 0.34)
    rungs: tuple[float, ...] = (0.33, 0.66)
    rung_quantile: float = checked(_SHARE, 0.5)
    extrapolate: bool = True
    schedule: str = checked(one_of(SCHEDULES), "cosine")
    average_weights: bool = True
    precision: str = checked(one_of(PRECISIONS), "float32")
    deterministic: bool = False
    backend: str | None = checked(one_of(BACKENDS), None)

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in UNITS):
            raise UserError("budget: expected epochs, steps, seconds or flops (such as --epochs 8), got none of them")
        check_values(Budget, asdict(self), "budget")
        if not all(0 < low < high < 1 for low, high in zip((1e-9, *self.rungs), self.rungs, strict=False)):
            raise UserError(f"budget: rungs: expected shares in (0, 1), each larger than the last, got {self.rungs!r}")
        if self.deterministic and self.seconds is not None:
            raise UserError("budget: deterministic: expected epochs, steps or flops, got seconds, which never repeat")

    def times(self, factor: float) -> Budget:
        """Return a budget that is longer by a factor, to retrain the best network."""
        number(above=0).demand("times: factor", factor)
        longer = {name: value * factor for name in UNITS if (value := getattr(self, name)) is not None}
        if "steps" in longer:
            longer["steps"] = max(1, round(longer["steps"]))
        return replace(self, **longer)

    def without_early_stopping(self) -> Budget:
        """Return the budget with which every network is trained to its end, unless it diverges."""
        return replace(self, early_stopping=False, rungs=())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a budget back, also one that an earlier version wrote; raises `UserError` for an unknown key."""
        if not isinstance(data, Mapping):
            raise UserError(f"budget: expected keys with values, got {shown(data)}")
        values = {_FORMER.get(key, key): value for key, value in data.items() if key not in _REMOVED}
        return read(cls, values, "budget")


@dataclass(frozen=True, slots=True)
class Patches:
    """Patches: parts of equal size of images that are larger, or of unequal sizes, on which networks are trained.

    Parameters
    ----------
    size
        Pixels of a patch along each spatial axis, which are also those of `Facts.input_shapes`.
    per_epoch
        Number of patches in an epoch; new ones are drawn for each epoch.
    foreground
        Share (0 to 1) of the patches that are drawn around a pixel of a class, each class but the most frequent one
        alike; the others are drawn anywhere. Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.
    gap
        Pixels along each axis that are left out between two parts of one image that are in different splits.
    validation_tiles
        Tiles that are predicted at most in a validation during a search; None for all.
    test_tiles
        Tiles of the test split that are predicted at most; None for all, as is usual. A test split of thousands of
        millions of pixels would take longer than the training.
    """

    size: tuple[int, ...]
    per_epoch: int = checked(_POSITIVE, 256)
    foreground: float = 1 / 3
    gap: tuple[int, ...] = ()
    validation_tiles: int | None = None
    test_tiles: int | None = None

    def __post_init__(self) -> None:
        check_values(Patches, asdict(self), "patches")
        if not 1 <= len(self.size) <= 3 or min(self.size) < 1:
            raise UserError(f"patches: size: expected 1 to 3 numbers of pixels ≥ 1, got {self.size!r}")
        if not 0 <= self.foreground <= 1:
            raise UserError(f"patches: foreground: expected a share from 0 to 1, got {self.foreground!r}")
        if self.gap and len(self.gap) != len(self.size):
            raise UserError(f"patches: gap: expected {len(self.size)} numbers of pixels, got {self.gap!r}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one evaluation; its process is ended when it exceeds one.

    Parameters
    ----------
    seconds
        Wall time of the evaluation, start-up and compilation included.
    memory_bytes
        Resident memory of the evaluation's process.
    checkpoint_s
        Seconds of training between checkpoints, from which an interrupted evaluation continues elsewhere; None: no
        checkpoints. This is not a limit, and a shorter training writes no checkpoint.
    """

    seconds: float = checked(_POSITIVE, 3600.0)
    memory_bytes: int | None = checked(_POSITIVE, None)
    checkpoint_s: float | None = checked(or_none(_POSITIVE), 60.0)

    def __post_init__(self) -> None:
        check_values(type(self), asdict(self), "limits")


@dataclass(frozen=True, slots=True)
class Facts:
    """Properties of the data, read once and frozen into the run.

    Parameters
    ----------
    input_shapes
        For each view the spatial sizes and the number of channels: ``(y, x, channel)``. With patches, those of a
        patch.
    outputs
        Number of classes, or of values to predict.
    classes
        Names of the classes; empty for regression.
    class_counts
        Samples (pixels for segmentation) of each class in the training split.
    samples
        Number of samples in the training, validation and test split. With patches, of images or parts of images.
    mean, variance
        For each view and channel, over the training split; of the clipped values if `clip` is given.
    clip
        For each view and channel the lowest and highest value that networks see; empty if values are not clipped.
    image_sizes
        Pixels along each spatial axis of the smallest, the median and the largest image; empty without patches.
    spacing
        Size of a pixel along each spatial axis, in the unit of the data; empty if it is not known.
    label_mean, label_variance
        For regression: of each value to predict, over the training split.
    pixel_values
        For regression: whether there is a value for each pixel, such as a heat map, and not for each sample.
    constant_fitness
        Fitness on the validation split of the best predictor that ignores the image; None if the metric is
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
    pixel_values: bool = False
    clip: tuple[tuple[tuple[float, float], ...], ...] = ()
    image_sizes: tuple[tuple[int, ...], ...] = ()
    spacing: tuple[float, ...] = ()
    constant_fitness: float | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        check_types(Facts, {each.name: getattr(self, each.name) for each in fields(Facts)}, "facts")
        shapes = self.input_shapes
        if not shapes or any(len(shape) < 1 or min(shape) < 1 for shape in shapes):
            raise UserError(f"facts: input_shapes: expected a shape for each view, sizes ≥ 1, got {shown(shapes)}")
        if self.outputs < 1:
            raise UserError(f"facts: outputs: expected an integer ≥ 1, got {self.outputs!r}")


@dataclass(frozen=True, slots=True)
class Problem:
    """What to learn from which images. Made by `open_problem`, which reads the facts from the data.

    Parameters
    ----------
    data
        Path or URL of the Zarr store.
    task
        ``classification`` (a label for each sample), ``regression`` (numbers for each sample, or one for each pixel)
        or ``segmentation`` (a label for each pixel).
    facts
        Properties of the data.
    inputs
        Names of the variables with the images; several are several views of the same sample.
    label
        Name of the variable with the labels.
    loss, metric
        A name of ours (of losses `LOSSES`, ``focal=2`` or ``tversky=0.3`` with its number) or of Keras, or
        ``module:function`` for one of the user's own; by default what suits the task and the balance of the classes
        (see `loss_name`, `metric_name`). The metric is the fitness.
    metric_mode
        Whether a larger (``max``) or a smaller (``min``) metric is better.
    ignore
        Label value of pixels or samples that are ignored.
    class_weight
        ``auto`` (``sqrt`` for segmentation and for imbalanced classes, but ``none`` for losses that count every class
        alike: ``dice``, ``dice_crossentropy``, ``tversky``), ``balanced`` (inverse frequency), ``sqrt`` (its root),
        ``none``, or a weight for each class.
    group
        Coordinate whose samples must stay together in one split (a scene, a patient, a microscope session).
    objectives
        What selection compares: ``fitness`` (larger is better) and costs (smaller is better).
    constraints
        Limits such as ``latency_ms<=2``; a network that breaks one ranks behind all that keep them.
    augmentation
        Random changes of training images, none by default, as names of `menndl_dask.change.AUGMENTATIONS` with an
        amount if it is not the usual one, such as ``flip``, ``flip=x``, ``rotate`` (by multiples of 90° in the y–x
        plane), ``rotate=15`` (by up to 15°), ``noise=0.05``; or ``module:Class``, a Keras layer of the user's own. The
        labels of pixels move with them.
    normalisation
        What networks see of the values: ``channel`` (each channel minus its mean, divided by its standard deviation,
        both over the training split, so that differences between images are kept), ``clip`` (the same after values
        beyond the percentiles 0.5 and 99.5 were clipped), or ``none``.
    patches
        Parts of the images that networks are trained on; None for whole images, which then have equal sizes.
    large_images
        For classification and regression of images that are larger than a patch, or of unequal sizes: ``vote`` (a
        network predicts for patches, and the class that most of them have wins), ``mean`` (the mean of the predictions
        for the patches), or ``resize`` (images are resized to one size). None for whole images of equal size.
    budget
        Training of each network.
    seed
        Of the split, and of everything random in an evaluation.
    train_on
        Splits whose samples networks are trained on. With ``("train", "validation")`` the fitness is measured on images
        that the network was trained on, and says nothing about it: only for a network that has been chosen.
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
    constraints: tuple[str, ...] = ()
    augmentation: tuple[str, ...] = ()
    normalisation: str = "channel"
    patches: Patches | None = None
    large_images: str | None = None
    budget: Budget = field(default_factory=lambda: Budget(epochs=10))
    seed: int = 0
    train_on: tuple[str, ...] = SPLITS[:1]

    def __post_init__(self) -> None:
        check_types(Problem, {each.name: getattr(self, each.name) for each in fields(Problem)}, "problem")
        one_of(TASKS).demand("task", self.task)
        if self.train_on not in (SPLITS[:1], SPLITS[:2]):
            got = shown(self.train_on)
            raise UserError(f"train_on: expected ('train',) or ('train', 'validation'), got {got}")
        one_of(NORMALISATIONS).demand("normalisation", self.normalisation)
        if len(self.inputs) != (views := len(self.facts.input_shapes)):
            raise UserError(f"inputs: expected {views} names, one for each view of the facts, got {shown(self.inputs)}")
        if self.large_images is not None:
            one_of(LARGE_IMAGES).demand("large_images", self.large_images)
            if self.large_images == "vote" and self.task == "regression":
                raise UserError("large_images: expected mean or resize for regression, got vote, which is for classes")
        if self.metric_mode not in ("max", "min"):
            raise UserError(f"metric_mode: expected 'max' or 'min', got {self.metric_mode!r}")
        weights = self.class_weight
        if isinstance(weights, str) and weights not in ("auto", "balanced", "sqrt", "none"):
            expected = "auto, balanced, sqrt, none or a weight for each class"
            raise UserError(f"class_weight: expected {expected}, got {weights!r}")
        if not isinstance(weights, str) and len(weights) != self.facts.outputs:
            expected = f"{self.facts.outputs} weights, one for each class"
            raise UserError(f"class_weight: expected {expected}, got {len(weights)}")
        loss, _ = read_loss(self.loss_name)
        if self.task == "regression" and loss in LOSSES:
            raise UserError(f"loss: expected for regression a loss of numbers, got {self.loss!r}")
        self.changes()

    def changes(self) -> tuple[Change, ...]:
        """Return the augmentation as values; raises `UserError` if it does not suit the images.

        >>> facts = Facts(input_shapes=((8, 8, 1),), outputs=2)
        >>> Problem("data.zarr", "classification", facts, augmentation=("flip", "shift=0.25")).changes()
        (Change(name='flip', axes='yx', amount=0.0), Change(name='shift', axes='', amount=0.25))
        """
        facts = self.facts
        found = tuple(read_change(text, facts.input_shapes, facts.spacing) for text in self.augmentation)
        moves = [(change.name, change.amount > 0) for change in found if change.name in MOVES]
        for name, is_turn in moves:
            if moves.count((name, is_turn)) > 1:
                raise UserError(f"augmentation: expected {name} once, got {', '.join(self.augmentation)}")
        return found

    @property
    def code(self) -> list[str]:
        """Names of code of the user's own, ``module:name``: of the loss, the metric and the augmentation.

        >>> facts = Facts(input_shapes=((8, 8, 1),), outputs=2)
        >>> Problem("data.zarr", "classification", facts, loss="my_losses:focal", augmentation=("flip",)).code
        ['my_losses:focal']
        """
        names = (self.loss, self.metric, *self.augmentation)
        return [name for name in names if name is not None and is_reference(name)]

    def _repr_html_(self) -> str:
        facts = self.facts
        counts = ", ".join(f"{n:,} {split}" for n, split in zip(facts.samples, SPLITS, strict=True))
        outputs = "values" if self.task == "regression" else "classes"
        rows = [
            ("data", self.data), ("task", self.task), ("images", f"{self.seen}; {counts}"),
            (outputs, str(facts.outputs)), ("fitness", metric_title(self.metric_name)), ("loss", self.loss_name),
            ("augmentation", ", ".join(self.augmentation) or "none"),
            ("objectives", ", ".join((*self.objectives, *self.constraints))),
        ]  # fmt: skip
        return html_summary("Problem", rows)

    @property
    def rank(self) -> int:
        """Number of spatial axes of the images."""
        return len(self.facts.input_shapes[0]) - 1

    @property
    def by_pixel(self) -> bool:
        """Whether there is a label for each pixel: a class, or a value."""
        return self.task == "segmentation" or self.facts.pixel_values

    @property
    def seen(self) -> str:
        """What a network sees, in words: images or patches, and the shape of each view."""
        shapes = " and ".join("×".join(map(str, shape)) for shape in self.facts.input_shapes)
        return f"{shapes} images" if self.patches is None else f"images in patches of {shapes}"

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
        return "mean_squared_error" if self.task == "regression" else WEIGHTED_CROSSENTROPY

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
            is_weighted = self.task == "segmentation" or self.is_imbalanced
            kind = "sqrt" if is_weighted and read_loss(self.loss_name)[0] not in _BALANCED_LOSSES else "none"
        counts = self.facts.class_counts
        power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[kind]
        raw = [c ** -power if c > 0 else 0.0 for c in counts]
        total = sum(w * c for w, c in zip(raw, counts, strict=True))
        return tuple(w * sum(counts) / total for w in raw) if total else (1.0,) * self.facts.outputs

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as a plain dict that JSON and YAML can hold."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # lists in place of tuples

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the problem of `to_dict`; raises `UserError` for an unknown key or a value of another type."""
        if not isinstance(data, Mapping):
            raise UserError(f"problem: expected keys with values, got {shown(data)}")
        values = dict(data)
        for key in ("facts", "budget"):
            if not isinstance(values.get(key), Mapping):
                raise UserError(f"problem: {key}: expected keys with values, got {shown(values.get(key))}")
        values["facts"] = read(Facts, values["facts"], "facts")
        values["budget"] = Budget.from_dict(values["budget"])
        if values.get("patches") is not None:
            values["patches"] = read(Patches, values["patches"], "patches")
        return read(cls, values, "problem")


def read_loss(name: str) -> tuple[str, float]:
    """Return the name of one of `LOSSES` and its number, 0 if it has none; raises `UserError` if that is not right.

    ``focal=2`` has the exponent gamma, ``tversky=0.3`` the weight alpha of false positives. Any other name, of Keras or
    of the user's own, is returned as it is.

    >>> read_loss("focal"), read_loss("tversky=0.5"), read_loss("dice"), read_loss("my_losses:focal")
    (('focal', 2.0), ('tversky', 0.5), ('dice', 0.0), ('my_losses:focal', 0.0))
    """
    word, _, value = name.partition("=")
    if word not in LOSSES or (not value and word not in _LOSS_AMOUNTS):
        return name, 0.0
    expected = {"focal": "a number > 0 (gamma)", "tversky": "a number between 0 and 1 (alpha)"}
    if word not in expected:
        raise UserError(f"loss: {word}: expected no number, got {name!r}")
    try:
        amount = float(value) if value else _LOSS_AMOUNTS[word]
    except ValueError:
        amount = math.nan
    if not 0 < amount < (1 if word == "tversky" else math.inf):
        raise UserError(f"loss: {word}: expected {expected[word]}, got {value!r}")
    return word, amount
