"""Domains: which values a field of a gene may take. Pure.

A field of a gene is declared with `choice`, `integer`, `real` or `per_axis`; the domain behind it
samples a value, tells whether a value belongs to it, takes small steps (mutation), finds the nearest value
(repair) and measures how far two values are apart (surrogate). A field that a search does not change is a `setting`.
The values that are `valid` are more than those that a search chooses from: networks of other people have them, too.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Protocol

import numpy as np

_DIGITS = 4  # significant digits kept of a real value: finer differences are not worth a training
_LARGEST = sys.float_info.max


class Domain(Protocol):
    """What every kind of domain can do. Its values are plain JSON values (tuples for several axes).

    `contains`, `accepts`, `nearest`, `step` and `distance` take any object and raise no error. An object that is not in
    the domain counts as the nearest value in it: an infinite number as a bound, NaN and objects of other types as the
    first value.
    """

    @property
    def size(self) -> float:
        """Number of values; infinite for a real domain."""

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value."""

    def contains(self, value: Any) -> bool:
        """Tell whether the value belongs to the domain."""

    def step(self, value: Any, rng: np.random.Generator) -> Any:
        """Return another value, near by where the domain is ordered; the same one only if there is no other.

        For an object that is not in the domain this is the nearest value.
        """

    def nearest(self, value: Any) -> Any:
        """Return the value of the domain that is nearest to a given one."""

    def distance(self, first: Any, second: Any) -> float:
        """Return the distance of two values, from 0 (equal) to 1 (the two ends of the domain)."""

    def accepts(self, value: Any) -> bool:
        """Tell whether the value has the right type, in the domain or not (an encoded model may exceed it)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values; ordered when all are numbers in ascending order.

    Raises
    ------
    ValueError
        If there are no values, two are equal, or a number is not finite.
    """

    values: tuple[Any, ...]
    by_size: bool = field(default=True, repr=False)  # whether numbers in ascending order are ordered

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(_plain(v) for v in self.values))
        if any(not isinstance(v, Hashable) for v in self.values):
            raise ValueError(f"choice: expected words or numbers, got {self.values!r}")
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError(f"choice: expected one or more different values, got {self.values!r}")
        if not all(abs(v) <= _LARGEST for v in self.values if _is_number(v)):
            raise ValueError(f"choice: expected finite numbers, got {self.values!r}")

    @property
    def ordered(self) -> bool:
        """Whether a small step means something."""
        return self.by_size and all(_is_number(v) for v in self.values) and list(self.values) == sorted(self.values)

    @property
    def size(self) -> float:
        return len(self.values)

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value, all equally likely."""
        return self.values[rng.integers(len(self.values))]

    def contains(self, value: Any) -> bool:
        if type(value) is str:  # quick: every gene that is made is checked
            return value in self.values
        if type(value) is bool:
            return any(value is v for v in self.values)
        return any(_same_type(value, v) and _plain(value) == v for v in self.values)

    def step(self, value: Any, rng: np.random.Generator) -> Any:
        """Return a neighbour where the values are ordered, else any other value."""
        if len(self.values) == 1 or not self.contains(value):
            return self.nearest(value)
        here = self.values.index(_plain(value))
        if not self.ordered:
            there = int(rng.integers(len(self.values) - 1))
            return self.values[there + (there >= here)]
        reach = 1 if rng.random() < 0.75 else 2
        there = here + (reach if rng.random() < 0.5 else -reach)
        if not 0 <= there < len(self.values):
            there = here + 1 if here == 0 else here - 1
        return self.values[there]

    def nearest(self, value: Any) -> Any:
        """Return the value itself, the nearest number where the values are ordered, or the first choice."""
        value = _plain(value)
        if self.contains(value):
            return self.values[self.values.index(value)]  # 8 and 8.0 are equal, but are not written alike
        if self.ordered and _is_number(value):
            within = min(max(value, self.values[0]), self.values[-1])
            return min(self.values, key=lambda v: abs(v - within))
        return self.values[0]

    def distance(self, first: Any, second: Any) -> float:
        """Return 0 or 1, or the share of the range between them where the values are ordered."""
        steps = abs(self.values.index(self.nearest(first)) - self.values.index(self.nearest(second)))
        return steps / (len(self.values) - 1) if steps and self.ordered else float(steps > 0)

    def accepts(self, value: Any) -> bool:
        return any(_same_type(value, v) for v in self.values)


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer from `low` to `high`, both included; `log` spaces steps and draws evenly in ratio.

    Raises
    ------
    ValueError
        If the bounds are not integers of 64 bits in ascending order, or the lower one is below 1 with `log`.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        whole = self.accepts(self.low) and self.accepts(self.high)
        if not whole or not -(2**63) <= self.low <= self.high < 2**63 or (self.log and self.low < 1):
            expected = "expected low ≤ high (and low ≥ 1 with log), both integers of 64 bits"
            raise ValueError(f"integer: {expected}, got {self.low}, {self.high}")
        object.__setattr__(self, "low", int(self.low))
        object.__setattr__(self, "high", int(self.high))

    @property
    def size(self) -> float:
        return self.high - self.low + 1

    def sample(self, rng: np.random.Generator) -> int:
        """Draw an integer, evenly or evenly in ratio."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high + 1)))
            return self.nearest(math.floor(drawn))
        return int(rng.integers(self.low, self.high, endpoint=True))

    def contains(self, value: Any) -> bool:
        if type(value) is int:  # quick, as in `Choice`
            return self.low <= value <= self.high
        return self.accepts(value) and self.low <= int(value) <= self.high

    def step(self, value: Any, rng: np.random.Generator) -> int:
        """Return another integer near by: a few per cent of the range, or by up to a factor of two."""
        if self.low == self.high or not self.contains(value):
            return self.nearest(value)
        value = int(value)
        sign = 1 if rng.random() < 0.5 else -1
        if self.log:
            change = round(value * math.exp(sign * rng.uniform(0.1, 0.7))) - value or sign
        else:
            change = sign * max(1, round(rng.uniform(0, 0.15) * (self.high - self.low)))
        there = self.nearest(value + change)
        return there if there != value else value - sign  # at a bound

    def nearest(self, value: Any) -> int:
        within: float = _within(value, self.low, self.high)
        return round(within)

    def distance(self, first: Any, second: Any) -> float:
        return _distance(self.nearest(first), self.nearest(second), self.low, self.high, self.log)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Real:
    """A real number from `low` to `high`, kept to four significant digits; `log` makes steps and draws even in ratio.

    Raises
    ------
    ValueError
        If the bounds or their difference are not finite, they are not in ascending order, or the lower one is not
        positive with `log`.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        low, high = _plain(self.low), _plain(self.high)
        are_numbers = _is_number(low) and _is_number(high)
        finite = are_numbers and -_LARGEST <= low <= high <= _LARGEST and high - low <= _LARGEST
        if not finite or (self.log and low <= 0):
            expected = "expected low ≤ high (and low > 0 with log), a finite distance apart"
            raise ValueError(f"real: {expected}, got {low}, {high}")
        object.__setattr__(self, "low", float(low))
        object.__setattr__(self, "high", float(high))

    @property
    def size(self) -> float:
        """Infinite, or 1 when both bounds are equal."""
        return 1.0 if self.low == self.high else math.inf

    def sample(self, rng: np.random.Generator) -> float:
        """Draw a number, evenly or evenly in ratio."""
        return self._at(rng.random())

    def contains(self, value: Any) -> bool:
        if type(value) is float:  # quick, as in `Choice`
            return self.low <= value <= self.high
        return self.accepts(value) and self.low <= _plain(value) <= self.high

    def step(self, value: Any, rng: np.random.Generator) -> float:
        """Return another number near by, normally distributed over a tenth of the range."""
        if self.low == self.high or not self.contains(value):
            return self.nearest(value)
        value = float(value)
        here, noise = _position(value, self.low, self.high, self.log), rng.normal(0.0, 0.1) or 0.1
        while (there := self._at(here + noise)) == value:  # at a bound, or less than the rounding
            noise *= -2.0
        return there

    def nearest(self, value: Any) -> float:
        """Return the number within the bounds that is nearest, to four significant digits."""
        within = float(_within(value, self.low, self.high))
        if within in (self.low, self.high):  # a bound may have more digits
            return within
        return min(max(float(f"{within:.{_DIGITS}g}"), self.low), self.high)

    def distance(self, first: Any, second: Any) -> float:
        """Return the share of the range between them (of the ratio with `log`)."""
        first, second = (_within(v, self.low, self.high) for v in (first, second))
        return _distance(first, second, self.low, self.high, self.log)

    def accepts(self, value: Any) -> bool:
        return _is_number(value)

    def _at(self, position: float) -> float:
        """Return the number at a position from 0 (`low`) to 1 (`high`)."""
        if not 0 < position < 1:
            return self.low if position <= 0 else self.high
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return self.nearest(math.exp(min(low + position * (high - low), high)))
        return self.nearest(self.low + position * (self.high - self.low))


@dataclass(frozen=True, slots=True)
class PerAxis:
    """One value for each spatial axis, as a tuple; a tuple of one value holds for every axis.

    Three draws in four are equal on all axes.
    """

    inner: Choice | Integer
    rank: int = 2

    @property
    def size(self) -> float:
        return self.inner.size**self.rank

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        if rng.random() < 0.75:
            return (self.inner.sample(rng),)
        return compact(tuple(self.inner.sample(rng) for _ in range(self.rank)))

    def contains(self, value: Any) -> bool:
        fits = self.accepts(value) and len(value) in (1, self.rank)
        return fits and all(self.inner.contains(v) for v in value)

    def step(self, value: Any, rng: np.random.Generator) -> tuple[Any, ...]:
        """Step on one axis, or on all together."""
        if not self.contains(value):
            return self.nearest(value)
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

    def distance(self, first: Any, second: Any) -> float:
        """Return the mean distance over the axes."""
        pairs = zip(*(spread(self.nearest(v), self.rank) for v in (first, second)), strict=True)
        return sum(self.inner.distance(a, b) for a, b in pairs) / self.rank

    def accepts(self, value: Any) -> bool:
        return isinstance(value, tuple) and 1 <= len(value) <= 3 and all(self.inner.accepts(v) for v in value)


@dataclass(frozen=True, slots=True)
class Several:
    """A tuple of `least` to `most` values, such as one for each axis of any image. Only a bound."""

    inner: Choice | Integer | Real
    most: int = 3
    least: int = 1

    def contains(self, value: Any) -> bool:
        if not isinstance(value, tuple) or not self.least <= len(value) <= self.most:
            return False
        contains = self.inner.contains
        return contains(value[0]) if len(value) == 1 else all(map(contains, value))


@dataclass(frozen=True, slots=True)
class Maybe:
    """A value, or None, which stands for what the kind of the gene has otherwise. Only a bound."""

    inner: Choice | Integer | Real | Several

    def contains(self, value: Any) -> bool:
        return value is None or self.inner.contains(value)


def in_words(bound: Any) -> str:
    """Say which values a domain or a bound has.

    >>> in_words(Several(Integer(1, 64))), in_words(Maybe(Real(0.0, 1.0)))
    ('a tuple of 1 to 3 values, each an integer from 1 to 64', 'None or a number from 0.0 to 1.0')
    """
    if isinstance(bound, Maybe):
        return f"None or {in_words(bound.inner)}"
    if isinstance(bound, Several):
        return f"a tuple of {bound.least} to {bound.most} values, each {in_words(bound.inner)}"
    if isinstance(bound, PerAxis):
        return f"a tuple with a value for each axis, each {in_words(bound.inner)}"
    if isinstance(bound, Integer):
        return f"an integer from {bound.low:,} to {bound.high:,}"
    if isinstance(bound, Real):
        return f"a number from {bound.low} to {bound.high}"
    return f"one of {', '.join(map(repr, bound.values))}" if isinstance(bound, Choice) else str(bound)


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


def choice(*values: Any, default: Any = None, later: bool = False, valid: Any = None, ordered: bool = True) -> Any:
    """Declare a gene's field that takes one of several values; the first is the default.

    Numbers in ascending order are ordered: a mutation takes a neighbour.

    Parameters
    ----------
    values
        What random networks and mutations choose from.
    default
        The value where none is given.
    later
        Whether the field was added to its kind when genomes had been stored: where it has its default, their keys stay
        as they were.
    valid
        The values that are valid at all, for networks of other people: a domain, or `Several` or `Maybe`. None: for
        the kinds of the package those of `values`, for a user's all of their type.
    ordered
        False for numbers in ascending order that are names, such as those of models: a mutation takes any other.

    >>> from dataclasses import dataclass
    >>> from menndl_dask.genome.gene import Gene
    >>> @dataclass(frozen=True, slots=True)
    ... class Edge(Gene):
    ...     operation: str = choice("none", "skip", "conv3")
    >>> Edge().operation
    'none'
    """
    return _field(Choice(tuple(values), ordered), values[0] if default is None else default, later, valid)


def integer(
    low: int, high: int, *, log: bool = False, default: int | None = None, later: bool = False, valid: Any = None
) -> Any:
    """Declare a gene's field that takes an integer from `low` to `high`, both included; the rest as in `choice`."""
    return _field(Integer(low, high, log), low if default is None else default, later, valid)


def real(
    low: float, high: float, *, log: bool = False, default: float | None = None, later: bool = False, valid: Any = None
) -> Any:
    """Declare a gene's field that takes a real number from `low` to `high`; the rest as in `choice`."""
    return _field(Real(low, high, log), low if default is None else default, later, valid)


def per_axis(*values: int, default: int | None = None, later: bool = False, valid: Any = None) -> Any:
    """Declare a gene's field with one of several integers for each spatial axis, a tuple; the rest as in `choice`."""
    return _field(PerAxis(Choice(tuple(values))), (values[0] if default is None else default,), later, valid)


def setting(valid: Any, default: Any, *, later: bool = False) -> Any:
    """Declare a gene's field that is read from networks and kept, but that a search does not change.

    Parameters
    ----------
    valid
        Its values: a domain, or `Several` or `Maybe`.
    default
        The value where none is given.
    later
        As in `choice`.
    """
    return field(default=default, metadata={"valid": valid, "later": later})


def with_rank(domain: Domain, rank: int) -> Domain:
    """Return the domain for images of another number of spatial axes."""
    return replace(domain, rank=rank) if isinstance(domain, PerAxis) else domain


def every_value(domain: Domain) -> list[Any]:
    """Return all values of a domain.

    Raises
    ------
    ValueError
        If there are infinitely many.
    """
    if isinstance(domain, Choice):
        return list(domain.values)
    if isinstance(domain, Integer):
        return list(range(domain.low, domain.high + 1))
    if isinstance(domain, PerAxis):
        inner = every_value(domain.inner)
        return list(dict.fromkeys(compact(values) for values in product(inner, repeat=domain.rank)))
    if domain.size == 1:
        return [domain.nearest(0.0)]
    raise ValueError(f"expected a domain with finitely many values, got {domain}")


def _field(domain: Domain, default: Any, later: bool, valid: Any) -> Any:
    return field(default=default, metadata={"domain": domain, "later": later, "valid": valid})


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as Python's own: a narrow one cannot be compared with every number."""
    if isinstance(value, np.longdouble):
        with np.errstate(over="ignore"):
            return float(value)
    return value.item() if isinstance(value, np.generic) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _same_type(value: Any, example: Any) -> bool:
    return _is_number(value) if _is_number(example) else isinstance(_plain(value), type(example))


def _within(value: Any, low: Any, high: Any) -> Any:
    """Return the number between two bounds that is nearest; the lower bound for NaN and what is no number."""
    # NaN, too, is not larger than `low`
    return min(high, max(low, _plain(value) if _is_number(value) else low))


def _position(value: float, low: float, high: float, log: bool) -> float:
    """Return where a value lies between two bounds, from 0 to 1, evenly or evenly in ratio."""
    if value in (low, high):  # bounds may be equal, their logarithms too
        return float(value != low)
    value, low, high = (math.log(v) if log else v for v in (value, low, high))
    return (value - low) / (high - low) if low < high else 0.5


def _distance(first: float, second: float, low: float, high: float, log: bool) -> float:
    return abs(_position(first, low, high, log) - _position(second, low, high, log))
