"""Objectives and hard constraints of a search. Pure.

``fitness`` is maximised. Every other objective names a cost or a metric of the result and is minimised.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from menndl_dask.errors import UserError, nearest
from menndl_dask.result import Result

FITNESS = "fitness"
MEASURED = (
    FITNESS, "parameters", "flops_forward", "flops_training", "latency_ms", "memory_bytes", "train_seconds", "loss",
)  # fmt: skip
"""Names that a search measures; an evaluation function of the user's own may measure others."""
_Any = TypeVar("_Any")
_LIMIT = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True, slots=True)
class Limit:
    """A hard constraint on a cost, a metric or the fitness.

    >>> Limit.parse("latency_ms <= 2").violation(Result(fitness=0.9, costs={"latency_ms": 3.0}))
    0.5
    """

    name: str
    bound: float
    upper: bool = True

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a constraint such as ``latency_ms <= 2``; raises `UserError` if it is malformed."""
        match = _LIMIT.fullmatch(text)
        try:
            name, sign, bound = match.groups() if match else ("", "", "nothing")
            return cls(name, float(bound), sign == "<=")
        except ValueError:
            raise UserError(f"constraint: expected NAME <= NUMBER or NAME >= NUMBER, got {text!r}") from None

    def violation(self, result: Result) -> float:
        """Return the violation as a share of the bound: 0 if the constraint holds, 1 if the value is missing."""
        value = measured(result, self.name)
        if value is None:
            return 1.0
        excess = value - self.bound if self.upper else self.bound - value
        return max(0.0, excess) / max(abs(self.bound), 1e-12)


@dataclass(frozen=True, slots=True)
class Objectives:
    """The objectives and hard constraints of a search.

    Parameters
    ----------
    names
        ``fitness``, and costs or metrics to be minimised.
    limits
        Hard constraints. A result that breaks one ranks behind all that satisfy them.
    """

    names: tuple[str, ...] = (FITNESS,)
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise UserError(f"objectives: expected one or more different names, got {self.names!r}")

    @classmethod
    def of(cls, names: Sequence[str], constraints: Sequence[str] = ()) -> Self:
        """Read objectives and constraints from words; raises `UserError` if they are not lists of words."""
        for what, words in (("objectives", names), ("constraints", constraints)):
            is_list = isinstance(words, Iterable) and not isinstance(words, (str, bytes, Mapping))
            is_list = is_list and not hasattr(words, "shape")  # a table has the names of its columns
            if not is_list or not all(isinstance(word, str) for word in words):
                short = str(words)[:40]
                raise UserError(f"{what}: expected a list of words, such as {[short]}, got {short!r}")
        return cls(tuple(names), tuple(Limit.parse(text) for text in constraints))

    def check_names(self) -> None:
        """Raise `UserError` for a name that is nearly that of a measured cost.

        >>> Objectives.of(["fitness", "latency"]).check_names()
        Traceback (most recent call last):
        menndl_dask.errors.UserError: objectives: 'latency' is not measured; did you mean 'latency_ms'?
        """
        for what, names in (("objectives", self.names), ("constraints", [limit.name for limit in self.limits])):
            for name in names:
                if name not in MEASURED and (hint := nearest(name, MEASURED)):
                    raise UserError(f"{what}: {name!r} is not measured{hint}")

    def values(self, result: Result) -> tuple[float, ...] | None:
        """Return a number for each objective, larger is better; None if the evaluation failed or lacks one."""
        found = [measured(result, name) for name in self.names]
        if not result.succeeded or any(v is None for v in found):
            return None
        return tuple(v if n == FITNESS else -v for n, v in zip(self.names, found, strict=True) if v is not None)

    def breaks(self, result: Result) -> bool:
        """Return whether the measured values break a constraint; missing values break none."""
        return any(limit.violation(result) > 0 for limit in self.limits if measured(result, limit.name) is not None)

    def violation(self, result: Result) -> float:
        """Return the sum of the violations; 0 if all constraints hold."""
        return sum(limit.violation(result) for limit in self.limits)

    def kept(self, found: Iterable[_Any], result: Callable[[_Any], Result]) -> list[_Any]:
        """Return those whose `result` keeps all constraints; all if none does."""
        every = list(found)
        return [each for each in every if not self.violation(result(each))] or every

    def order(self, result: Result) -> tuple[float, float]:
        """Return a key that is smallest for the fittest result: one that breaks a constraint comes after all others."""
        return self.violation(result), -(result.fitness or 0.0)


def front_of(values: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the values that no other beats in all objectives, the best in the first objective first.

    Larger is better; of equal ones the first is taken.

    >>> front_of([(0.5, -10), (0.9, -30), (0.4, -20), (0.9, -30)])
    [1, 0]
    """
    front: list[int] = []
    for i in sorted(range(len(values)), key=lambda i: [-value for value in values[i]]):
        if not any(all(a >= b for a, b in zip(values[j], values[i], strict=True)) for j in front):
            front.append(i)
    return front


def by_knee(values: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of a front, the knee first: the nearest to the best of all objectives, each scaled to 0 to 1.

    >>> by_knee([(0.90, -100.0), (0.89, -20.0), (0.30, -10.0)])
    [1, 0, 2]
    """
    spans = [(max(column), (max(column) - min(column)) or 1.0) for column in zip(*values, strict=True)]
    distances = [
        math.hypot(*((best - value) / span for value, (best, span) in zip(each, spans, strict=True))) for each in values
    ]
    return sorted(range(len(values)), key=lambda i: distances[i])


def measured(result: Result, name: str) -> float | None:
    """Return the fitness, cost or metric of that name, if it was measured and is a finite number."""
    value = result.fitness if name == FITNESS else result.costs.get(name, result.metrics.get(name))
    return value if value is not None and math.isfinite(value) else None


def objectives_of(optimizer: object, names: Sequence[str]) -> Objectives:
    """Return what an optimizer compares: its own objectives where it has some, with its hard constraints."""
    own = getattr(optimizer, "objectives", None)
    return own if isinstance(own, Objectives) else Objectives(tuple(names))
