"""Pictures of test scores: by class with their spread, confusion matrix, calibration, predicted against true. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from menndl_dask.metric import values_of
from menndl_dask.problem import Problem
from menndl_dask.report.chart import Chart, Line, Mark, Scale, element, text_width
from menndl_dask.text import metric_title, quantity

Array = NDArray[Any]
_ROW, _TOP, _RIGHT = 26, 12, 74  # height of a class, and margins, pixels
_WIDTH, _LONGEST = 820, 260
_SHOWN = 24  # classes at most, and samples of each
_DOTS = 120
_SIDE = 46  # of a cell of the confusion matrix, pixels


def score_of_class(problem: Problem) -> str:
    """Return the score by class that belongs to a problem's metric: ``IoU``, ``Dice`` or ``recall``."""
    metric = problem.metric_name
    if problem.task == "segmentation":
        return "Dice" if metric == "mean_dice" else "IoU" if metric == "mean_iou" else "recall"
    return "recall"


def class_scores(sums: Array, problem: Problem) -> tuple[Array, Array]:
    """Return the scores of the classes over the whole split ``(class,)`` and in each group ``(group, class)``.

    `sums` are those of `menndl_dask.metric.Measure.sums` of each group, ``(group, row, class)``. NaN where a class does
    not occur.

    >>> from menndl_dask.problem import Facts
    >>> problem = Problem("a.zarr", "segmentation", Facts(((8, 8, 1),), 2, ("a", "b")))
    >>> whole, each = class_scores(np.array([[[3.0, 1.0], [4.0, 1.0], [3.0, 2.0]]]), problem)
    >>> whole.tolist(), each.shape
    ([0.75, 0.5], (1, 2))
    """
    kind = score_of_class(problem)

    def of(each: Array) -> Array:
        hits, labels, predicted = np.moveaxis(each, -2, 0)
        part, whole = {
            "IoU": (hits, labels + predicted - hits), "Dice": (2 * hits, labels + predicted), "recall": (hits, labels)
        }[kind]  # fmt: skip
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(whole > 0, part / whole, np.nan)

    return of(sums.sum(axis=0)), of(sums)


def class_figure(networks: Sequence[tuple[str, Array]], problem: Problem, unit: str) -> str:
    """Return the scores by class of one or two networks as SVG: a dot for each group, a bar for all together.

    Parameters
    ----------
    networks
        Name and sums ``(group, row, class)`` of each, the best one first.
    problem
        Whose classes they are.
    unit
        What a group is, such as ``sample``.
    """
    names = problem.facts.classes[:_SHOWN]
    left = 16 + min(_LONGEST, max(text_width(name) for name in names))
    x = Scale(0.0, 1.0, left, _WIDTH - _RIGHT)
    rows = len(networks)
    height = _TOP + len(names) * (_ROW * rows + 8) + 40
    parts = [
        f'<path class="grid" d="M{x(v):.1f} {_TOP}V{height - 38}"/>'
        f'<text class="tick" x="{x(v):.1f}" y="{height - 22}" text-anchor="middle">{v:g}</text>'
        for v in (0, 0.25, 0.5, 0.75, 1)
    ]
    for row, (name, sums) in enumerate(networks):
        whole, each = class_scores(sums, problem)
        style = ("front", "standard")[row] if rows > 1 else "front"
        for number, title in enumerate(names):
            y = _TOP + number * (_ROW * rows + 8) + row * _ROW + _ROW / 2
            count = None if problem.task == "segmentation" else float(sums[:, 1, number].sum())
            both = f"{name}, {title}"
            parts.append(_class_row(x, y, each[:, number], float(whole[number]), style, both, unit, count))
            if row == 0:
                at = f'x="{left - 8:.1f}" y="{y + (rows - 1) * _ROW / 2 + 4:.1f}" text-anchor="end"'
                parts.append(f"<text {at}>{escape(title)}</text>")
    kind = score_of_class(problem)
    middle = f'x="{(x.start + x.end) / 2:.0f}" y="{height - 4}" text-anchor="middle"'
    what = f"a dot is one {unit}" if problem.task == "segmentation" else "with its 95 % interval"
    parts.append(f'<text class="title" {middle}>{kind}; {escape(what)}</text>')
    return element(f"{kind} of each class, of {len(networks)} networks", _WIDTH, height, "".join(parts), "chart wide")


def _class_row(
    x: Scale, y: float, each: Array, whole: float, style: str, name: str, unit: str, count: float | None
) -> str:
    """Return the score of a class with its spread over the groups, or with the interval that its `count` leaves."""
    if not np.isfinite(whole):
        return f'<text class="tick" x="{x.start + 6:.1f}" y="{y + 4:.1f}">without a label here</text>'
    known = each[np.isfinite(each)]
    if count is not None:
        low, high = _interval(whole, count)
        spread = f", {low:.3f} to {high:.3f} (95 % interval, {count:.0f} samples)"
        drawn = f'<rect class="dot {style}" style="fill-opacity:.4;stroke:none" x="{x(low):.1f}" y="{y - 2:.1f}"'
        drawn += f' width="{x(high) - x(low):.1f}" height="4"/>'
    else:
        spread = f", from {known.min():.3f} to {known.max():.3f} over {len(known)} {unit}s" if len(known) > 1 else ""
        drawn = "".join(
            f'<circle class="dot {style}" style="fill-opacity:.35;stroke:none" cx="{x(value):.1f}"'
            f' cy="{y + (place % 5 - 2) * 2.6:.1f}" r="2.6"/>'
            for place, value in enumerate(known[:: max(1, -(-len(known) // _DOTS))].tolist())
        )
    tip = f"<title>{escape(f'{name}: {whole:.4f}{spread}')}</title>"
    bar = f'<rect class="dot {style}" x="{x(whole) - 2:.1f}" y="{y - 10:.1f}" width="4" height="20">{tip}</rect>'
    return f'{drawn}{bar}<text class="tick" x="{x.end + 10:.1f}" y="{y + 4:.1f}">{whole:.4f}</text>'


def _interval(share: float, count: float) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    square = 1.96**2 / count
    middle = (share + square / 2) / (1 + square)
    half = np.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def confusion_figure(counts: Array, classes: Sequence[str]) -> str:
    """Return the confusion matrix as SVG: the share of each class that was predicted as each class.

    `counts` ``(label, prediction)``. Of many classes those that are confused most are shown.
    """
    wrong = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    shown = np.sort(np.argsort(-wrong, kind="stable")[:_SHOWN])
    names = [classes[n] for n in shown]
    side = _SIDE if len(names) <= 8 else max(18, int(8 * _SIDE / len(names) * 1.2))
    left = 34 + min(_LONGEST, max(text_width(name) for name in names))
    top = 46 + 0.75 * (left - 34)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    parts = [
        f'<text class="title" x="{left + len(names) * side / 2:.0f}" y="14" text-anchor="middle">predicted</text>'
        f'<text class="title" transform="translate(14 {top + len(names) * side / 2:.0f}) rotate(-90)"'
        ' text-anchor="middle">label</text>'
    ]
    for row, (n, name) in enumerate(zip(shown, names, strict=True)):
        y = top + row * side
        at = left + row * side + side / 2 + 4
        parts.append(f'<text x="{left - 8:.1f}" y="{y + side / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<text transform="translate({at:.1f} {top - 8:.1f}) rotate(-45)">{escape(name)}</text>')
        for column, m in enumerate(shown):
            share, x = float(shares[n, m]), left + column * side
            tip = f"{name} predicted as {names[column]}: {share:.1%} ({int(counts[n, m]):,})"
            parts.append(
                f'<rect class="cellof {"right" if n == m else "wrong"}" x="{x:.1f}" y="{y:.1f}" width="{side - 2}"'
                f' height="{side - 2}" fill-opacity="{0.06 + 0.94 * share:.3f}"><title>{escape(tip)}</title></rect>'
            )
            if side >= 30 and share >= 0.005:
                middle = f'x="{x + side / 2 - 1:.1f}" y="{y + side / 2 + 3:.1f}" text-anchor="middle"'
                parts.append(f'<text class="percent{" on" if share > 0.55 else ""}" {middle}>{100 * share:.0f}</text>')
    width = left + len(names) * side + max(0.0, 0.72 * (left - 34) - side / 2) + 8
    height = top + len(names) * side + 6
    label = f"Confusion matrix of {len(names)} classes, in per cent of each label"
    return element(label, width, height, "".join(parts), "chart matrix")


def calibration_figure(calibration: Array) -> str:
    """Return the reliability diagram as SVG: of predictions with about the same confidence, the share that is right.

    `calibration` ``(3, bins)``: number of predictions, sum of their confidences, and number of right ones. Empty where
    only the predicted classes are known.
    """
    number, confidence, right = calibration
    known = number > 0
    if not known.any() or np.allclose(confidence[known], number[known]):
        return ""
    means, shares = confidence[known] / number[known], right[known] / number[known]
    error = float((np.abs(means - shares) * number[known]).sum() / number.sum())
    marks = [
        Mark(float(m), float(s), f"confidence {m:.3f}\n{s:.1%} right\n{quantity(float(n))} predictions", "front")
        for m, s, n in zip(means, shares, number[known], strict=True)
    ]
    line = Line([(mark.x, mark.y) for mark in marks], "front")
    return Chart(
        f"Calibration: expected calibration error {error:.3f}",
        Scale(0.0, 1.0),
        Scale(0.0, 1.02),
        f"mean confidence; expected calibration error {error:.3f}",
        "share that is right",
        marks,
        [Line([(0.0, 0.0), (1.0, 1.0)], "train"), line],
        size=(400, 330),
    ).svg()


def regression_figures(truth: Array, guess: Array, name: str) -> list[str]:
    """Return predicted against true values as SVG, a figure for each of the first values ``(sample, value)``."""
    figures = []
    for value in range(min(truth.shape[1], 6)):
        true, said = truth[:, value].astype(float), guess[:, value].astype(float)
        scale = Scale.around([*true.tolist(), *said.tolist()])
        marks = [
            Mark(t, s, f"true {t:.4g}\npredicted {s:.4g}") for t, s in zip(true.tolist(), said.tolist(), strict=True)
        ]
        title = name if truth.shape[1] == 1 else f"{name} {value}"
        line = Line([(scale.low, scale.low), (scale.high, scale.high)], "train")
        label = f"Predicted against true values of {title}"
        figures.append(
            Chart(label, scale, scale, f"true {title}", f"predicted {title}", marks, [line], size=(400, 330)).svg()
        )
    return figures


def score_text(sums: Array, problem: Problem, unit: str) -> str:
    """Return the metric of a split, and its spread over the groups, in words.

    `sums` are those of each group, ``(group, row, output)``.
    """
    each = values_of(problem.metric_name, sums)
    each = each[np.isfinite(each)]
    if len(each) < 2 or problem.task == "classification":
        return ""
    low, middle, high = np.percentile(each, [5, 50, 95])
    return (
        f"{metric_title(problem.metric_name)} of single {unit}s: median {middle:.3f}, nine of ten between {low:.3f}"
        f" and {high:.3f}."
    )
