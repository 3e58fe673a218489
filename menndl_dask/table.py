"""The table of networks: fitness and costs side by side, for the terminal and the page. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from menndl_dask.individual import Individual
from menndl_dask.result import Result, error_name

Evaluation = tuple[Individual, Result]

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BINARY = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_MISSING = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """One network in the table.

    Parameters
    ----------
    name
        What the reader knows it by, such as ``network 17`` or ``U-Net (standard)``.
    fitness
        Its fitness on the validation split; nothing where it has none.
    costs
        As in `Result.costs`.
    metrics
        Further measures, such as those on the test split.
    inherited
        Share of its parameters that it began with from its parents; nothing where networks inherit none.
    """

    name: str
    fitness: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    inherited: float | None = None

    @classmethod
    def of(cls, name: str, result: Result) -> Self:
        """Return the row of a result."""
        return cls(name, result.fitness, result.costs, result.metrics, result.inherited_share)


def ranked(evaluations: Iterable[Evaluation], count: int = 10) -> list[Evaluation]:
    """Return the fittest evaluations, best first; failures and equal networks are left out.

    Parameters
    ----------
    evaluations
        Individuals and results, in any order.
    count
        How many at most.
    """
    succeeded = [(i, r) for i, r in evaluations if r.fitness is not None]
    best: dict[str, Evaluation] = {}
    for individual, result in sorted(succeeded, key=lambda e: (-_fitness(e[1]), e[0].id)):
        best.setdefault(individual.genome.key, (individual, result))
        if len(best) == count:
            break
    return list(best.values())


def best_rows(evaluations: Iterable[Evaluation], count: int = 5) -> list[Row]:
    """Return a row for each of the fittest networks, best first; those that the search began with are marked."""
    return [Row.of(_name(individual), result) for individual, result in ranked(evaluations, count)]


def table(rows: Sequence[Row], metric: str = "fitness") -> str:
    """Return the networks as aligned plain text; columns that nobody has a value for are left out.

    Parameters
    ----------
    rows
        One for each network, in the order to show.
    metric
        Heading of the fitness column.

    Examples
    --------
    >>> print(table([Row("network 7", 0.8731, {"parameters": 12345}), Row("U-Net", 0.85)], "mean_iou"))
    network    mean_iou  parameters
    network 7    0.8731      12.3 k
    U-Net        0.8500           –
    """
    head, body = cells(rows, metric)
    lines = [head, *body]
    widths = [max(len(line[c]) for line in lines) for c in range(len(head))]
    return "\n".join(_aligned(line, widths) for line in lines)


def cells(rows: Sequence[Row], metric: str = "fitness") -> tuple[list[str], list[list[str]]]:
    """Return the heading and the text of each cell, with the columns that somebody has a value for."""
    columns = [column for column in _COLUMNS if any(column[1] in row.costs for row in rows)]
    extra = _extra_metrics(rows)
    titles = [f"test {metric_title(name.removeprefix('test_'))}" for name in extra]
    inherits = any(row.inherited is not None for row in rows)
    head = ["network", metric, *(title for title, _, _ in columns), *["inherited"] * inherits, *titles]
    body = [
        [
            row.name,
            fitness_text(row.fitness),
            *(_cell(row.costs.get(key), show) for _, key, show in columns),
            *[_cell(row.inherited, "{:.0%}".format)] * inherits,
            *(with_error(row.metrics, name) for name in extra),
        ]
        for row in rows
    ]
    return head, body


def metric_title(name: str) -> str:
    """Return a metric's name as people write it.

    >>> metric_title("mean_iou"), metric_title("balanced_accuracy")
    ('mean IoU', 'balanced accuracy')
    """
    known = {"mean_iou": "mean IoU", "r2": "R²", "mean_dice": "mean Dice", "roc_auc": "ROC AUC"}
    return known.get(name, name.rpartition(":")[2].replace("_", " "))


def fitness_text(value: float | None) -> str:
    """Write a fitness with four decimals, so that columns align; a dash where there is none.

    >>> fitness_text(0.5), fitness_text(None), fitness_text(-12345.678)
    ('0.5000', '–', '-1.235e+04')
    """
    if value is None or not math.isfinite(value):
        return _MISSING
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.3e}"


def with_error(metrics: Mapping[str, float], name: str) -> str:
    """Write a metric, with its standard error where that is known.

    >>> with_error({"test_r2": 0.5, "test_r2_error": 0.0123}, "test_r2"), with_error({"test_r2": 0.5}, "test_r2")
    ('0.5000 ± 0.012', '0.5000')
    """
    error = metrics.get(error_name(name))  # nought says that the samples do not tell
    return fitness_text(metrics.get(name)) + (f" ± {error:.2g}" if error else "")


def quantity(value: float) -> str:
    """Write a count with three digits and a prefix.

    >>> quantity(12345), quantity(7), quantity(3.2e9), quantity(999_999)
    ('12.3 k', '7', '3.20 G', '1.00 M')
    """
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale * 0.9995:
            return f"{_three_digits(value / scale)} {prefix}"
    return f"{value:.3g}"


def size(value: float) -> str:
    """Write a number of bytes.

    >>> size(3 * 2**20)
    '3.00 MiB'
    """
    for scale, unit in _BINARY:
        if value >= scale:
            return f"{_three_digits(value / scale)} {unit}"
    return f"{value:.0f} B"


def duration(seconds: float) -> str:
    """Write a duration in the two largest units that matter.

    >>> duration(7.25), duration(95), duration(7260), duration(200_000)
    ('7.2 s', '1 min 35 s', '2 h 1 min', '2 d 7 h')
    """
    if not math.isfinite(seconds):
        return _MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    for large, small, names in ((86400, 3600, "d h"), (3600, 60, "h min"), (60, 1, "min s")):
        if whole >= large:
            first, second = names.split()
            rest = whole % large // small
            return f"{whole // large} {first}" + (f" {rest} {second}" if rest else "")
    return f"{whole} s"


def milliseconds(value: float) -> str:
    """Write a latency.

    >>> milliseconds(0.1234)
    '0.123 ms'
    """
    return f"{value:.3g} ms"


_COLUMNS = (
    ("parameters", "parameters", quantity),
    ("FLOPs", "flops_forward", quantity),
    ("latency", "latency_ms", milliseconds),
    ("training", "train_seconds", duration),
)


def _name(individual: Individual) -> str:
    return f"network {individual.id}{' (given)' if individual.origin == 'seeded' else ''}"


def _cell(value: float | None, show: object) -> str:
    assert callable(show)
    return _MISSING if value is None or not math.isfinite(value) else str(show(value))


def _extra_metrics(rows: Sequence[Row]) -> list[str]:
    # what was measured on the test split belongs beside the fitness; the loss does not
    names = {name for row in rows for name in row.metrics if name.startswith("test_")}
    return sorted(names - {error_name(name) for name in names})


def _fitness(result: Result) -> float:
    assert result.fitness is not None
    return result.fitness


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        text.ljust(width) if c == 0 else text.rjust(width)
        for c, (text, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
