"""Rules of the plan for a training: batch, length, loss, and what is said of patch and normalisation. Pure.

They follow nnU-Net (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z) in what they look at: the size of the images,
the spacing of pixels, the shares of the classes and the memory. The numbers are for trainings of a minute or two on a
CPU or a small GPU, of which a search needs many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from menndl_dask.problem import WEIGHTED_CROSSENTROPY, Problem
from menndl_dask.run.planned_value import PlannedValue, seconds_text
from menndl_dask.text import counted

DICE_CROSSENTROPY = "dice_crossentropy"
LEAST_BATCH, GOOD_BATCH = 2, 4  # as nnU-Net; with enough samples for batch normalisation
_MOST_BATCH = 32
_PIXELS = {1: 2**16, 2: 2**17, 3: 2**17}  # of a batch of dense images, by rank
_LEAST_STEPS, _GOOD_STEPS, _MOST_STEPS, _USUAL_STEPS = 200, 400, 1000, 500
_STEPS_AN_EPOCH = 8  # at least, of a small data set
_NETWORK_S = 90.0  # aim for the training of the standard network
LONGEST_S = 180.0
_EPOCHS = 10  # of patches, whose epochs have any length
_LEAST_TILES = 32
_RARE = 0.05  # share of the pixels of a class
_FIGURES = (1, 2, 3, 5, 8)


def batch_size(problem: Problem) -> PlannedValue:
    """Return the batch size by the size of the images and the number of samples, before memory and time are known."""
    pixels = math.prod(problem.facts.input_shapes[0][:-1])
    samples = problem.facts.samples[0]
    most = _MOST_BATCH
    what = f"images of {_sizes(problem)} pixels"
    if problem.by_pixel:
        most = max(LEAST_BATCH, min(most, _power_of_two(_PIXELS[problem.rank] / pixels)))
    if problem.patches is not None:
        reason = f"patches of {_sizes(problem)} pixels, {counted(most * pixels, 'pixel')} a step"
        return PlannedValue("batch_size", most, reason)
    few = max(LEAST_BATCH, _power_of_two(samples / _STEPS_AN_EPOCH))
    if few < most:
        reason = f"only {counted(samples, 'training sample')}: more steps of fewer samples"
        return PlannedValue("batch_size", few, reason)
    return PlannedValue("batch_size", most, f"{what}, {counted(samples, 'training sample')}")


def steps(problem: Problem, batch: int, step_s: float | None) -> int:
    """Return the number of optimiser steps for a network, by the seconds of a step of the standard network."""
    most = float(_MOST_STEPS)
    if problem.patches is None:  # a large data set is seen twice where there is time
        most = max(most, 2 * problem.facts.samples[0] / batch)
    if step_s is None:
        return _USUAL_STEPS
    return round(min(most, max(_LEAST_STEPS, _NETWORK_S / step_s)))


def length(problem: Problem, batch: int, wanted: int, per_epoch: int | None) -> tuple[int | None, float]:
    """Return the patches an epoch (None for whole images) and the epochs that take about so many steps."""
    if problem.patches is not None and per_epoch is None:
        each = wanted / _EPOCHS
        return round(each / 5) * 5 * batch, _EPOCHS
    samples = per_epoch or problem.facts.samples[0]
    epochs = round_figure(wanted / math.ceil(samples / batch))
    return per_epoch, epochs


def validation_tiles(tiles: int | None, patches: int) -> int | None:
    """Return the tiles of a validation, of which a training has about four, so that they take little of its time.

    >>> validation_tiles(None, 800), validation_tiles(168, 800), validation_tiles(168, 4000)
    (None, 100, 168)
    """
    return None if tiles is None else min(tiles, max(_LEAST_TILES, patches // 8))


def test_tiles(tiles: int | None, patches: int) -> int | None:
    """Return the tiles of the test, which take about as long as a training on so many patches: a step is three of them.

    >>> test_tiles(None, 800), test_tiles(40_000, 800)
    (None, 3200)
    """
    return None if tiles is None else min(tiles, 4 * patches)


def is_too_slow(step_s: float) -> bool:
    """Tell whether the fewest steps of the standard network would take too long."""
    return _LEAST_STEPS * step_s > LONGEST_S


def is_slow(step_s: float) -> bool:
    """Tell whether a good number of steps would take too long: smaller batches then teach more in the same time."""
    return _GOOD_STEPS * step_s > LONGEST_S


def length_reason(total: int, step_s: float | None, *, slow: bool) -> str:
    """Say why a training has so many steps."""
    if step_s is None:
        return f"{counted(total, 'step')} for each network; not timed"
    whole = seconds_text(total * step_s)
    each = f"{counted(total, 'step')} of {seconds_text(step_s)}: {whole} for the standard network"
    return f"{each}; fewer steps would teach too little" if slow else each


def loss(problem: Problem) -> PlannedValue:
    """Return the loss by the task and the shares of the classes."""
    if problem.task == "regression":
        return PlannedValue("loss", "mean_squared_error", "usual for numbers")
    counts = [count for count in problem.facts.class_counts if count > 0]
    if problem.task == "classification" or len(counts) < 2:
        balance = "classes are imbalanced" if problem.is_imbalanced else "usual for classes"
        return PlannedValue("loss", WEIGHTED_CROSSENTROPY, balance)
    rarest = min(counts) / sum(counts)
    of = f"the rarest class has {rarest:.2g}" if rarest < 0.001 else f"the rarest class has {rarest:.1%}"
    if rarest < _RARE or problem.is_imbalanced:
        return PlannedValue("loss", DICE_CROSSENTROPY, f"{of} of the pixels: Dice counts classes equally")
    return PlannedValue("loss", WEIGHTED_CROSSENTROPY, f"{of} of the pixels: no class is rare")


def normalisation(problem: Problem) -> PlannedValue:
    """Say how values are normalised, which was chosen when the data was opened, and why."""
    if problem.normalisation == "clip":
        reason = "some values lie so far outside that they spoil the mean: clipped to the percentiles 0.5 and 99.5"
    elif problem.normalisation == "channel":
        reason = "minus the mean, divided by the standard deviation of each channel of the training split"
    else:
        reason = "values as they are"
    return PlannedValue("normalisation", problem.normalisation, reason)


def large_images(problem: Problem) -> PlannedValue:
    """Say what is done with images that are larger than what a network sees, or of unequal sizes."""
    least, middle, largest = (" × ".join(map(str, size)) for size in problem.facts.image_sizes or ((), (), ()))
    sizes = f"of {middle} pixels" if least == largest else f"of {least} to {largest} pixels"
    to = f", resized to {_sizes(problem)}" if problem.large_images == "resize" else ""
    return PlannedValue("large_images", problem.large_images, f"images {sizes}{to}")


def patch(problem: Problem) -> PlannedValue:
    """Say which part of an image networks are trained on, and why."""
    facts = problem.facts
    if problem.patches is None:
        small = "all resized to" if problem.large_images == "resize" else "small enough, and all of"
        return PlannedValue("patch", None, f"images are {small} {_sizes(problem)} pixels")
    if not facts.image_sizes:
        return PlannedValue("patch", problem.patches.size, "images are larger")
    least, middle, largest = (" × ".join(map(str, size)) for size in facts.image_sizes)
    sizes = f"images of {middle} pixels" if least == largest else f"images of {least} to {largest} pixels"
    spacing = ""
    if facts.spacing and max(facts.spacing) > 1.05 * min(facts.spacing):
        spacing = f", {' × '.join(f'{s:.3g}' for s in facts.spacing)} apart: about as long along each axis"
    return PlannedValue("patch", problem.patches.size, f"{sizes}{spacing}")


def augmentation(found: Sequence[tuple[str, str]]) -> PlannedValue:
    """Return the augmentation, of changes with their reasons."""
    reasons: dict[str, list[str]] = {}
    for name, reason in found:
        reasons.setdefault(reason, []).append(name.partition("=")[0])
    said = [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return PlannedValue("augment", tuple(name for name, _ in found), "; ".join(said) or "no change is safe")


def round_figure(value: float) -> int:
    """Return the largest number with one figure of 1, 2, 3, 5, 8 that is at most 10 % above the value; at least 1.

    >>> [round_figure(v) for v in (0.3, 4.4, 4.7, 36, 95, 1000)]
    [1, 3, 5, 30, 100, 1000]
    """
    if value < 1:
        return 1
    scale = 10 ** math.floor(math.log10(value))
    return int(scale * max(f for f in (*_FIGURES, 10) if f * scale <= 1.1 * value))


def _power_of_two(value: float) -> int:
    """Return the largest power of two that is at most the value; at least 1."""
    return 1 << math.floor(math.log2(max(1.0, value)))


def _sizes(problem: Problem) -> str:
    return " × ".join(map(str, problem.facts.input_shapes[0][:-1]))
