"""Domains: which values a field of a gene may take. Pure.

A field of a gene is declared with `choice`, `integer`, `real` or `per_axis`; the domain behind it
samples a value, tells whether a value belongs to it, takes small steps (mutation), finds the nearest value
(repair) and measures how far two values are apart (surrogate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

_DIGITS = 4  # significant digits kept of a real value: finer differences are not worth a training


class Domain(Protocol):
    """What every kind of domain can do. Values are plain JSON values (tuples for several axes)."""

    @property
    def size(self) -> float:
        """Number of values; infinite for a real domain."""
        ...

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value."""
        ...

    def contains(self, value: Any) -> bool:
        """Tell whether the value belongs to the domain."""
        ...

    def step(self, value: Any, rng: np.random.Generator) -> Any:
        """Return another value, a small step away where the domain is ordered."""
        ...

    def nearest(self, value: Any) -> Any:
        """Return the value of the domain that is nearest to a given one."""
        ...

    def distance(self, first: Any, second: Any) -> float:
        """Return how far two values are apart, 0 (equal) to 1 (as far as can be)."""
        ...

    def accepts(self, value: Any) -> bool:
        """Tell whether the value has the right type, in the domain or not (an encoded model may exceed it)."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values; ordered when all are numbers in ascending order."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError(f"choice: expected one or more different values, got {self.values!r}")

    @property
    def ordered(self) -> bool:
        """Whether a small step means something."""
        numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.values)
        return numeric and list(self.values) == sorted(self.values)

    @property
    def size(self) -> float:
        """Number of values."""
        return len(self.values)

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value, all equally likely."""
        return self.values[rng.integers(len(self.values))]

    def contains(self, value: Any) -> bool:
        """Tell whether the value is one of the choices; a truth value is no number."""
        return any(value == v and _same_type(value, v) for v in self.values)

    def step(self, value: Any, rng: np.random.Generator) -> Any:
        """Return a neighbour where the values are ordered, else any other value."""
        if len(self.values) == 1:
            return self.values[0]
        if not self.contains(value):
            return self.nearest(value)
        here = self.values.index(value)
        if not self.ordered:
            there = int(rng.integers(len(self.values) - 1))
            return self.values[there + (there >= here)]
        reach = 1 if rng.random() < 0.75 else 2
        there = here + (reach if rng.random() < 0.5 else -reach)
        if not 0 <= there < len(self.values):
            there = here + 1 if here == 0 else here - 1
        return self.values[there]

    def nearest(self, value: Any) -> Any:
        """Return the value itself, the nearest number, or the first choice."""
        if self.contains(value):
            return self.values[self.values.index(value)]  # 8 and 8.0 are equal, but are not written alike
        if self.ordered and _is_number(value):
            return min(self.values, key=lambda v: abs(v - value))
        return self.values[0]

    def distance(self, first: Any, second: Any) -> float:
        """Return 0 or 1, or the share of the range between them where the values are ordered."""
        if first == second:
            return 0.0
        if self.ordered and len(self.values) > 2 and first in self.values and second in self.values:
            return abs(self.values.index(first) - self.values.index(second)) / (len(self.values) - 1)
        return 1.0

    def accepts(self, value: Any) -> bool:
        """Tell whether the value is of the type of one of the choices."""
        return any(_same_type(value, v) for v in self.values)


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from `low` to `high`, both included; `log` spaces steps and draws evenly in ratio."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high or (self.log and self.low < 1):
            raise ValueError(f"integer: expected low ≤ high (and low ≥ 1 with log), got {self.low}, {self.high}")

    @property
    def size(self) -> float:
        """Number of values."""
        return self.high - self.low + 1

    def sample(self, rng: np.random.Generator) -> int:
        """Draw an integer, evenly or evenly in ratio."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high + 1)))
            return min(self.high, int(drawn))
        return int(rng.integers(self.low, self.high + 1))

    def contains(self, value: Any) -> bool:
        """Tell whether the value is an integer within the bounds."""
        return self.accepts(value) and self.low <= value <= self.high

    def step(self, value: int, rng: np.random.Generator) -> int:
        """Return another integer near by: a few per cent of the range, or by up to a factor of two."""
        if self.low == self.high:
            return self.low
        sign = 1 if rng.random() < 0.5 else -1
        if self.log:
            there = round(value * math.exp(sign * rng.uniform(0.1, 0.7)))
        else:
            there = value + sign * max(1, round(rng.uniform(0, 0.15) * (self.high - self.low)))
        if there == value:
            there = value + sign
        if not self.low <= there <= self.high:
            there = self.nearest(there)
            if there == value:
                there = self.nearest(value - sign)
        return int(there)

    def nearest(self, value: Any) -> int:
        """Return the integer within the bounds that is nearest."""
        return int(min(max(round(value), self.low), self.high)) if _is_number(value) else self.low

    def distance(self, first: int, second: int) -> float:
        """Return the share of the range between them (of the ratio with `log`), at most 1."""
        return _distance(first, second, self.low, self.high, self.log)

    def accepts(self, value: Any) -> bool:
        """Tell whether the value is an integer."""
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Real:
    """A real number from `low` to `high`, kept to four significant digits."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise ValueError(f"real: expected low ≤ high (and low > 0 with log), got {self.low}, {self.high}")

    @property
    def size(self) -> float:
        """Infinite, or 1 when both bounds are equal."""
        return 1.0 if self.low == self.high else math.inf

    def sample(self, rng: np.random.Generator) -> float:
        """Draw a number, evenly or evenly in ratio."""
        if self.log:
            return self.nearest(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self.nearest(rng.uniform(self.low, self.high))

    def contains(self, value: Any) -> bool:
        """Tell whether the value is a number within the bounds."""
        return self.accepts(value) and self.low <= value <= self.high

    def step(self, value: float, rng: np.random.Generator) -> float:
        """Return a number near by, normally distributed over a tenth of the range."""
        noise = rng.normal(0.0, 0.1)
        if self.log:
            return self.nearest(value * math.exp(noise * math.log(self.high / self.low)))
        return self.nearest(value + noise * (self.high - self.low))

    def nearest(self, value: Any) -> float:
        """Return the number within the bounds that is nearest, to four significant digits."""
        if not _is_number(value) or not math.isfinite(value):
            return self.low
        rounded = float(f"{value:.{_DIGITS}g}")
        return min(max(rounded, self.low), self.high)

    def distance(self, first: float, second: float) -> float:
        """Return the share of the range between them (of the ratio with `log`), at most 1."""
        return _distance(first, second, self.low, self.high, self.log)

    def accepts(self, value: Any) -> bool:
        """Tell whether the value is a number."""
        return _is_number(value)


@dataclass(frozen=True, slots=True)
class PerAxis:
    """One value for each spatial axis, as a tuple; a tuple of one value holds for every axis.

    Three draws in four are equal on all axes.
    """

    inner: Choice | Integer
    rank: int = 2

    @property
    def size(self) -> float:
        """Number of tuples."""
        return self.inner.size**self.rank

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Draw a tuple."""
        if rng.random() < 0.75:
            return (self.inner.sample(rng),)
        return compact(tuple(self.inner.sample(rng) for _ in range(self.rank)))

    def contains(self, value: Any) -> bool:
        """Tell whether the value is a tuple of the right length with values of the inner domain."""
        fits = self.accepts(value) and len(value) in (1, self.rank)
        return fits and all(self.inner.contains(v) for v in value)

    def step(self, value: tuple[Any, ...], rng: np.random.Generator) -> tuple[Any, ...]:
        """Step on one axis, or on all together."""
        values = spread(self.nearest(value), self.rank)
        if rng.random() < 0.6:
            return (self.inner.step(values[0], rng),)
        axis = int(rng.integers(self.rank))
        return compact(tuple(self.inner.step(v, rng) if i == axis else v for i, v in enumerate(values)))

    def nearest(self, value: Any) -> tuple[Any, ...]:
        """Return the nearest value on each axis; the last one is repeated for missing axes."""
        given = tuple(value) if isinstance(value, (tuple, list)) and value else (value,)
        padded = (given + (given[-1],) * self.rank)[: self.rank]
        return compact(tuple(self.inner.nearest(v) for v in padded))

    def distance(self, first: tuple[Any, ...], second: tuple[Any, ...]) -> float:
        """Return the mean distance over the axes."""
        if first == second:
            return 0.0
        rank = max(len(first), len(second))
        pairs = zip(spread(first, rank), spread(second, rank), strict=True)
        return sum(self.inner.distance(a, b) for a, b in pairs) / rank

    def accepts(self, value: Any) -> bool:
        """Tell whether the value is a tuple of one to three values of the right type."""
        return isinstance(value, tuple) and 1 <= len(value) <= 3 and all(self.inner.accepts(v) for v in value)


def compact(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Write a tuple whose values are all equal with one value.

    >>> compact((3, 3)), compact((3, 5))
    ((3,), (3, 5))
    """
    return values[:1] if len(set(values)) == 1 else values


def spread(values: tuple[Any, ...], rank: int) -> tuple[Any, ...]:
    """Write a tuple with one value for each of `rank` axes.

    >>> spread((3,), 2), spread((3, 5), 2)
    ((3, 3), (3, 5))

    Raises
    ------
    ValueError
        If the tuple has neither one nor `rank` values.
    """
    if len(values) == rank:
        return values
    if len(values) != 1:
        raise ValueError(f"expected 1 or {rank} values, one for each axis, got {values}")
    return values * rank


def choice(*values: Any, default: Any = None) -> Any:
    """Declare a gene's field that takes one of several values; the first is the default.

    >>> from dataclasses import dataclass
    >>> from menndl_dask.gene import Gene
    >>> @dataclass(frozen=True, slots=True)
    ... class Edge(Gene):
    ...     operation: str = choice("none", "skip", "conv3")
    >>> Edge().operation
    'none'
    """
    return _field(Choice(tuple(values)), values[0] if default is None else default)


def integer(low: int, high: int, *, log: bool = False, default: int | None = None) -> Any:
    """Declare a gene's field that takes an integer from `low` to `high`, both included."""
    return _field(Integer(low, high, log), low if default is None else default)


def real(low: float, high: float, *, log: bool = False, default: float | None = None) -> Any:
    """Declare a gene's field that takes a real number from `low` to `high`."""
    return _field(Real(low, high, log), low if default is None else default)


def per_axis(*values: int, default: int | None = None) -> Any:
    """Declare a gene's field with one of several integers for each spatial axis, as a tuple."""
    return _field(PerAxis(Choice(tuple(values))), (values[0] if default is None else default,))


def with_rank(domain: Domain, rank: int) -> Domain:
    """Return the domain for images of another number of spatial axes."""
    return replace(domain, rank=rank) if isinstance(domain, PerAxis) else domain


def _field(domain: Domain, default: Any) -> Any:
    return field(default=default, metadata={"domain": domain})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _same_type(value: Any, example: Any) -> bool:
    if _is_number(example) and not isinstance(example, bool):
        return _is_number(value)
    return isinstance(value, type(example))


def _distance(first: float, second: float, low: float, high: float, log: bool) -> float:
    if low == high:
        return 0.0 if first == second else 1.0
    if log:
        first, second, low, high = (math.log(max(v, 1e-12)) for v in (first, second, low, high))
    return min(1.0, abs(first - second) / (high - low))
