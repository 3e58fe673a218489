"""The table of networks: fitness and costs side by side, for the terminal and the page. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from menndl_dask.genome.individual import Evaluation, ranked
from menndl_dask.result import Result
from menndl_dask.text import (
    MISSING,
    TextTable,
    duration,
    error_name,
    fitness_text,
    metric_title,
    milliseconds,
    quantity,
    with_error,
)

_GIVEN = " (given)"  # after the name of a network that a search began with


@dataclass(frozen=True, slots=True)
class Row:
    """One network in the table.

    Parameters
    ----------
    name
        Such as ``network 17`` or ``U-Net (standard)``.
    fitness
        Fitness on the validation split; None if the evaluation failed.
    costs
        As in `Result.costs`.
    metrics
        Further measures, such as those on the test split.
    """

    name: str
    fitness: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_given(self) -> bool:
        """Whether the search began with this network."""
        return self.name.endswith(_GIVEN)

    @classmethod
    def of(cls, name: str, result: Result) -> Self:
        """Return the row of a result."""
        return cls(name, result.fitness, result.costs, result.metrics)


def best_rows(evaluations: Iterable[Evaluation], count: int = 5) -> list[Row]:
    """Return a row for each of the fittest networks, best first; those that were given at the start are marked."""
    return [
        Row.of(f"network {individual.id}{_GIVEN if individual.origin == 'seeded' else ''}", result)
        for individual, result in ranked(evaluations, count)
    ]


def table(rows: Sequence[Row], metric: str = "fitness") -> TextTable:
    """Return the networks as a table, in the given order; columns without any value are left out.

    >>> print(table([Row("network 7", 0.8731, {"parameters": 12345}), Row("U-Net", 0.85)], "mean_iou"))
    network    mean_iou  parameters
    network 7    0.8731      12.3 k
    U-Net        0.8500           –
    """
    columns = [column for column in _COLUMNS if any(column[1] in row.costs for row in rows)]
    # what was measured on the test split belongs beside the fitness; the loss does not
    names = {name for row in rows for name in row.metrics if name.startswith("test_")}
    extra = sorted(names - {error_name(name) for name in names})
    titles = [f"test {metric_title(name.removeprefix('test_'))}" for name in extra]
    head = ["network", metric, *(title for title, _, _ in columns), *titles]
    body = [
        [
            row.name,
            fitness_text(row.fitness),
            *(
                show(cost) if math.isfinite(cost := row.costs.get(key, math.nan)) else MISSING
                for _, key, show in columns
            ),
            *(with_error(row.metrics, name) for name in extra),
        ]
        for row in rows
    ]
    return TextTable(head, body)


_COLUMNS = (
    ("parameters", "parameters", quantity),
    ("FLOPs", "flops_forward", quantity),
    ("latency", "latency_ms", milliseconds),
    ("training", "train_seconds", duration),
)
