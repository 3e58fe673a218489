"""Warnings about a data set, each with advice on what to do. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from menndl_dask.moments import is_constant
from menndl_dask.problem import SPLITS, Problem
from menndl_dask.text import counted

if TYPE_CHECKING:
    from menndl_dask.data.check.report import DataReport, Statistics

_FEW_SAMPLES = 100  # for training
_FEW_IMAGES = 30  # for training, with pixel labels
_FEW_OF_A_CLASS = 20  # samples for training
_FEW_WITH_A_CLASS = 5  # images for training with pixels of the class
_FEW_PIXELS = 1000  # for training, of a class in large images
_FEW_TO_CHOOSE = 50  # for validation or test
_FEW_IMAGES_TO_CHOOSE = 5  # for validation or test, with pixel labels
_MANY_CLASSES = 8
_SKEWED = 10.0  # ratio of class sizes from which on imbalance is reported
_LARGE_CHUNK = 256 * 2**20
_NEARLY_PERFECT = 0.995
_LEAST_GAIN = 0.02  # over the constant predictor
_SIGMAS = 3.0  # standard errors of an accuracy, for a significant gain
_LIKE_CLASSES = 20  # as many different whole numbers may be classes
_NAMED = 3  # examples in a sentence
_OF_OUTLIERS = {
    "channel": (
        "They spoil mean and standard deviation, by which networks normalise: a planned search clips them "
        "(--normalisation clip). If they are measured values that matter, take their logarithm."
    ),
    "clip": "Networks see them clipped to the percentiles 0.5 and 99.5.",
    "none": "Networks see them as they are.",
}
_ABSENT = {
    "train": "networks cannot learn it.",
    "validation": "the search cannot measure whether networks learn it.",
    "test": "the test scores cannot show whether the network has learnt it.",
}


def warn(report: DataReport) -> Iterator[str]:
    """Yield the warnings for a report of the data check, most serious first."""
    yield from _leaks(report)
    yield from _scores(report)
    yield from _values(report)
    yield from _classes(report)
    yield from _sizes(report)
    for view in (checked.variable for checked in report.views):
        if view.chunk > 1 and view.chunk * view.sample_bytes > _LARGE_CHUNK:
            size = view.chunk * view.sample_bytes / 2**30
            yield f"{view.name}: a chunk of {view.chunk} samples takes {size:.1f} GiB: store fewer samples in a chunk."


def _leaks(report: DataReport) -> Iterator[str]:
    equal = report.duplicates
    if equal.across:
        pairs = _examples([f"{a} and {b}" for a, b in equal.across])
        yield (
            f"{counted(len(equal.across), 'image')} {_is(equal.across)} in two splits at once (samples {pairs}): "
            "scores will be too good. Remove the copies, or keep them together with a coordinate as group."
        )
    if equal.conflicting:
        pairs = _examples([f"{a} and {b}" for a, b in equal.conflicting])
        yield (
            f"{counted(len(equal.conflicting), 'image')} {_is(equal.conflicting)} there twice with different labels "
            f"(samples {pairs}): one of the labels is wrong."
        )
    if equal.samples and not equal.across and not equal.conflicting:
        are = "is a copy" if equal.samples == 1 else "are copies"
        yield f"{counted(equal.samples, 'sample')} {are} of another one in the same split."
    if report.leaking:
        number = counted(len(report.leaking), "group")
        yield (
            f"{number} of {report.problem.group!r} {_has(report.leaking)} samples in more than one split "
            f"({_examples(report.leaking)}): scores will be too good. Correct the coordinate 'split', or remove it: "
            "then groups are kept together."
        )
    if report.candidates:
        yield (
            f"No group is given, but samples with the same {_examples(report.candidates)} are in several splits. If it "
            "marks samples that belong together (a scene, a patient), scores will be too good: use it as group."
        )


def _scores(report: DataReport) -> Iterator[str]:
    problem = report.problem
    values = {s.name: s.value for s in report.scores if s.value is not None and math.isfinite(s.value)}
    constant = values.pop("constant", None)
    if constant is None or not values:
        return
    minimise = problem.metric_mode == "min"
    name, best = min(values.items(), key=lambda v: v[1] if minimise else -v[1])
    gain = (constant - best) / max(abs(constant), 1e-12) if minimise else best - constant
    noise = _noise(problem, constant, best)
    if gain < _LEAST_GAIN:
        how = "hardly better" if gain > 0 else "no better"
        yield (
            f"The quick predictors are {how} than the constant one ({best:.3f} against {constant:.3f}). Either "
            "images and labels are not in the same order, or the task needs a neural network. Compare a few "
            "images with their labels before a long search."
        )
    elif gain < noise:
        yield (
            f"The {name} predictor has {best:.3f} and the constant one {constant:.3f}, but with "
            f"{counted(problem.facts.samples[1], 'validation sample')} a difference of up to {noise:.2f} may be "
            "chance: the validation split is too small to tell. If images and labels are not in the same order, it "
            "looks like this too: compare a few."
        )
    elif not minimise and best > _NEARLY_PERFECT:
        yield (
            f"The {name} predictor is nearly perfect ({best:.4f}): a search cannot improve on it. If the task should "
            "be hard, look for leakage: a marker in the image, or copies in two splits."
        )


def _noise(problem: Problem, *shares: float) -> float:
    """Return up to which difference two shares of right answers may be equal, by the number of validation samples."""
    if problem.task != "classification" or not all(0 <= share <= 1 for share in shares):
        return 0.0
    variance = sum(share * (1 - share) for share in shares)
    return _SIGMAS * math.sqrt(variance / max(1, problem.facts.samples[1]))


def _values(report: DataReport) -> Iterator[str]:
    problem = report.problem
    for checked in report.views:
        view, channels = checked.variable, checked.channels
        missing = [c for c in channels if c.missing]
        if missing:
            most = max(c.missing for c in missing) * len(channels) / view.values
            yield (
                f"{view.name}: {_channels(missing)} {_has(missing)} missing values (NaN, up to {most:.2%} of a "
                "channel), or infinite ones. Networks get the mean of the channel instead; fill them yourself if that "
                "is wrong."
            )
        constant = [c for c in channels if is_constant(c.mean, c.std**2)]
        if constant:
            yield f"{view.name}: {_channels(constant)} {_has(constant)} the same value everywhere and can be removed."
        far = [c for c in channels if c.far is not None]
        if far and (one := far[0].far) is not None:
            yield (
                f"{view.name}: {_channels(far)} {_has(far)} the value {one.value:.6g} in {one.share:.1%} of the "
                f"pixels, far from all others ({one.low:.4g} to {one.high:.4g}). If it marks missing values, write "
                "NaN in its place, or give it in the attribute 'nodata' (menndl convert --nodata)."
            )
        outliers = [c for c in channels if c.outliers and c.far is None]
        if outliers:
            extremes = f"{outliers[0].minimum:.4g} to {outliers[0].maximum:.4g} with a mean of {outliers[0].mean:.4g}"
            yield (
                f"{view.name}: {_channels(outliers)} {_has(outliers)} values far outside the usual range ({extremes}). "
                f"{_OF_OUTLIERS.get(problem.normalisation, '')}"
            )
    variances = zip(report.values, problem.facts.label_mean, problem.facts.label_variance, strict=False)
    for value, mean, variance in variances:
        if is_constant(mean, variance):
            where = "pixels" if problem.by_pixel else "samples"
            yield f"{problem.label}: value {value.name} is the same in all {where} for training and cannot be learnt."
    if len(report.values) == 1 and 1 < report.values[0].whole <= _LIKE_CLASSES and report.values[0].minimum >= 0:
        yield (
            f"{report.problem.label}: only {report.values[0].whole} different values, all whole numbers, stored as "
            "floats. If they are classes, use --task classification, or store them as integers."
        )


def _classes(report: DataReport) -> Iterator[str]:
    if not report.classes:
        return
    problem = report.problem
    pixels = problem.by_pixel
    for index, split in enumerate(SPLITS):
        absent = [c.name for c in report.classes if not c.samples[index]]
        if absent:
            yield (
                f"No sample of the {split} split has {_examples(absent)}: {_ABSENT[split]} Label more samples, split "
                "them differently, or remove the class."
            )
    few, unit = _FEW_OF_A_CLASS, "training samples"
    rare = [f"{c.name} ({c.samples[0]})" for c in report.classes if 0 < c.samples[0] < few]
    if pixels and problem.patches is not None:  # a large image shows a class in many places
        few, unit = _FEW_PIXELS, "training pixels"
        rare = [f"{c.name} ({c.counts[0]})" for c in report.classes if 0 < c.counts[0] < few]
    elif pixels:
        few, unit = _FEW_WITH_A_CLASS, "training samples with such pixels"
        rare = [f"{c.name} ({c.samples[0]})" for c in report.classes if 0 < c.samples[0] < few]
    if rare:
        them = "it" if len(rare) == 1 else "them"
        yield f"Fewer than {few} {unit}: {_examples(rare)}. Networks will hardly learn {them}. Label more."
    sizes = [c.counts[0] for c in report.classes if c.counts[0]]
    if sizes and max(sizes) > _SKEWED * min(sizes):
        metric = f"The fitness is {problem.metric_name}, which weights classes equally; accuracy would hide rare ones."
        if problem.metric_name == "accuracy":
            metric = "The metric accuracy hides rare classes; balanced_accuracy and mean_iou do not."
        weighted = "The loss weights classes as given"
        if problem.class_weight == "auto":
            weighted = "The loss takes account of it too: see the plan of a search"
        yield f"The largest class is {max(sizes) / min(sizes):.0f} times the smallest. {metric} {weighted}."
    counts = problem.facts.class_counts
    if problem.ignore is None and len(counts) > _MANY_CLASSES and 2 * counts.count(0) > len(counts):
        yield (
            f"Class numbers go up to {len(counts) - 1}, but most of them do not occur. If one of them marks missing "
            "labels, give it in the attribute 'fill' of the label; else number the classes from 0 without gaps."
        )


def _sizes(report: DataReport) -> Iterator[str]:
    problem = report.problem
    train, validation, test = problem.facts.samples
    pixels = problem.by_pixel
    held_out = f"{validation} validation and {counted(test, 'test sample')}"
    if problem.patches is not None and pixels:
        labelled = sum(c.counts[0] for c in report.classes)
        if problem.facts.pixel_values:
            labelled = train * math.prod(problem.facts.image_sizes[1])
        number = labelled // math.prod(problem.patches.size)
        if number < _FEW_IMAGES:
            size = " × ".join(map(str, problem.patches.size))
            yield (
                f"The labelled training pixels fill only {number} patch{'es' * (number != 1)} of {size}: networks will "
                "overfit. Label more."
            )
    elif train < (_FEW_IMAGES if pixels else _FEW_SAMPLES):
        cut = " Patches show more of large images: --patch." if pixels else ""
        yield (
            f"Only {counted(train, 'training sample')}: networks will overfit. Label more, or fine-tune a "
            f"published network.{cut}"
        )
    if report.divided and "test" in report.given:
        yield (
            "Training and validation are parts of the same image: scores of the search will be better than those on "
            "the test images. Label an image for the validation if you can."
        )
    elif report.divided:
        yield (
            "Training, validation and test are parts of the same image: scores will be better than on other images. "
            "Label a part of another image for the test if you can."
        )
    elif pixels and min(validation, test) < _FEW_IMAGES_TO_CHOOSE:
        yield f"Only {held_out}: scores will have a large random error."
    elif not pixels and min(validation, test) < _FEW_TO_CHOOSE:
        yield (
            f"Only {held_out}: one sample is {1 / min(validation, test):.1%}; smaller "
            "differences between networks are not significant."
        )


def _channels(channels: Sequence[Statistics]) -> str:
    names = _examples([c.name for c in channels])
    return f"channel {names}" if len(channels) == 1 else f"{len(channels)} channels ({names})"


def _is(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _has(things: Sequence[object]) -> str:
    return "has" if len(things) == 1 else "have"


def _examples(names: Sequence[str]) -> str:
    """Return the first few names, and an ellipsis if there are more.

    >>> _examples(["a", "b", "c", "d"])
    'a, b, c, …'
    """
    return ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])])
