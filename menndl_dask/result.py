"""The result of an evaluation: one typed record for every outcome. Pure."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any, Self

from menndl_dask.errors import one_line
from menndl_dask.text import fitness_text, html_summary

FAILURES: dict[str, str] = {
    "infeasible": "no network can be built from the genome, or it exceeds a limit of the search space",
    "no_learning": "after a part of the budget it was no better than the constant predictor",
    "pruned": "at a rung it was clearly behind the networks before it, and was stopped",
    "diverged": "the loss became NaN or infinite",
    "out_of_memory": "the training needed more memory than it may have",
    "timed_out": "the evaluation took longer than it may take",
    "killed": "the evaluation's process died by a signal",
    "worker_lost": "workers were lost again and again while they evaluated it",
    "error": "an exception, of the user's own loss, metric or gene kind or of the framework",
}
OF_DATA = ("no_learning", "diverged")  # failures whose cause may be the data
_FORMER_FAILURES = {"hopeless": "pruned"}  # names of version 0.1.0
# a result travels over the network and is one line of the journal
LONGEST_MESSAGE = 2000  # characters
_LONGEST_NAME = 200  # characters of a name or a worker
_MOST_VALUES = 1000  # of costs, of metrics, of times and of a point of the curve
_MOST_POINTS = 10_000  # of a curve
_LARGEST_INTEGER = 2**63  # larger ones are written as floats
_LONGEST_SHOWN, _MOST_MESSAGES, _KINDS_SHOWN = 250, 100, 3  # of messages that are counted, in characters; of kinds
_SHOWN = 5  # remarks on values that are left out


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of an evaluation.

    A result has either a fitness or a failure; one without a fitness can never win a comparison.

    Whatever is given becomes plain numbers and text, which JSON can hold: scalars of NumPy, Keras and other frameworks
    become Python's numbers. What is no number, such as an array or a nested mapping, is left out, and the message says
    so. A fitness that is no number is a failure of kind ``error``. NaN and infinity are failures of kind ``diverged``
    as a fitness, and stay where they are elsewhere.

    Parameters
    ----------
    fitness
        The problem's metric on the validation split, larger is better.
    failure
        A key of `FAILURES`; None if the evaluation succeeded.
    message
        The failure in words; of a success, remarks. At most 2,000 characters are kept.
    costs
        ``parameters``, ``flops_forward`` (a sample), ``flops_training`` (all steps), ``latency_ms`` (a sample),
        ``memory_bytes`` (peak), ``framework_bytes`` (those of them that were in use before the network was built),
        ``train_seconds``, ``gpu_joules`` (energy of the training's GPU, or of its part of one), ``cpu_joules`` (of all
        processors of the node meanwhile), …
    metrics
        Further metrics on the validation split, such as ``loss``; of an unfinished training also its ``fitness``.
    curve
        One record for each validation during the training: ``epoch``, ``share`` (of the budget), ``seconds``, ``loss``,
        ``val_loss``, ``fitness``.
    times
        Seconds of each phase: ``start``, ``data``, ``build``, ``train``, ``measure``, ``checkpoint``; and ``total``.
    began
        When the worker began the evaluation, by its clock, in seconds since the epoch; None if not recorded.
    worker
        Host and process of the evaluation.
    seed
        Random seed of the training.

    Raises
    ------
    ValueError
        If `failure` is not a key of `FAILURES`.

    >>> import numpy as np
    >>> result = Result(np.float32(0.5), metrics={"recall": np.array(0.25), "confusion": np.eye(2)})
    >>> result.fitness, result.metrics, result.message
    (0.5, {'recall': 0.25}, "metrics: 'confusion' is left out: expected a number, got ndarray of shape (2, 2)")
    """

    fitness: float | None = None
    failure: str | None = None
    message: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[Mapping[str, float], ...] = ()
    times: Mapping[str, float] = field(default_factory=dict)
    worker: str = ""
    seed: int = 0
    began: float | None = None

    def __post_init__(self) -> None:
        if self.failure is not None and not (type(self.failure) is str and self.failure in FAILURES):
            raise ValueError(f"failure: expected one of {', '.join(FAILURES)}, got {_shown(self.failure)}")
        remarks: list[str] = []
        plain: dict[str, Any] = {
            name: _numbers(name, getattr(self, name), remarks) for name in ("costs", "metrics", "times")
        }
        plain["curve"] = _curve(self.curve, remarks)
        plain["worker"] = _text(self.worker, _LONGEST_NAME)
        plain["seed"] = seed = _number(self.seed)
        if not isinstance(seed, int):
            remarks.append(f"seed: expected an integer, got {_shown(self.seed)}")
            plain["seed"] = 0
        began = _number(self.began)
        plain["began"] = round(float(began), 3) if began is not None and math.isfinite(began) else None
        message, failure, fitness = self.message, self.failure, None
        if failure is None:
            fitness = _number(self.fitness)
            if fitness is None or not math.isfinite(fitness):  # a NaN cannot be compared
                failure = "error" if fitness is None and self.fitness is not None else "diverged"
                got = self.fitness if fitness is None else fitness
                message, fitness = (
                    _text(message, LONGEST_MESSAGE) or f"fitness: expected a number, got {_shown(got)}",
                    None,
                )
        if len(remarks) > _SHOWN:
            remarks[_SHOWN:] = [f"{len(remarks) - _SHOWN} more are left out"]
        added = _text("; ".join(remarks), LONGEST_MESSAGE // 2)
        cut = _text(message, LONGEST_MESSAGE - len(added) - 2 if added else LONGEST_MESSAGE)
        plain["message"] = "; ".join(filter(None, (cut, added)))
        plain |= {"failure": failure, "fitness": None if fitness is None else float(fitness)}
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @classmethod
    def failed(cls, failure: str, message: str = "", **values: Any) -> Self:
        """Return the result of a failed evaluation."""
        return cls(fitness=None, failure=failure, message=message, **values)

    @classmethod
    def returned(cls, value: object) -> Result:
        """Return what an evaluation function has returned as a result of plain values; a failure if it is no result.

        Whatever the value is, also an object whose methods raise, this returns a result.
        """
        try:
            if issubclass(type(value), Result):  # or a subclass, or one of another version
                return Result(**{name: getattr(value, name) for name in _FIELDS if hasattr(value, name)})
            return cls.failed("error", f"evaluate: expected a Result, got {type(value).__name__[:60]}")
        except Exception as error:  # noqa: BLE001 - user code may raise anything
            return cls.failed("error", f"evaluate: expected a Result, got one that cannot be read: {one_line(error)}")

    @property
    def succeeded(self) -> bool:
        """Whether the evaluation has a fitness."""
        return self.failure is None

    def _repr_html_(self) -> str:
        why = "" if self.failure is None else f"{self.failure}: {FAILURES[self.failure]}"
        values = [(name, f"{value:.4g}") for name, value in {**self.costs, **self.metrics}.items()]
        remarks = [("message", self.message)] if self.message else []
        return html_summary("Result", [("fitness", why or fitness_text(self.fitness)), *values, *remarks])

    def as_if_finished(self) -> Result:
        """Return the result of a training that was stopped at a rung with its last fitness as the final one."""
        return replace(self, failure=None, fitness=self.metrics.get("fitness"))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a plain dict for JSON, without empty values."""
        record = {name: getattr(self, name) for name in _FIELDS}
        record["curve"] = [dict(point) for point in self.curve]
        plain = {name: dict(v) if isinstance(v, Mapping) else v for name, v in record.items()}
        return {name: v for name, v in plain.items() if v or isinstance(v, (int, float))}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a result back; unknown keys and kinds of failure, such as those of other versions, are no mistake.

        Raises
        ------
        ValueError
            If `data` is not a mapping.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"result: expected a mapping, got {_shown(data)}")
        values = {k: v for k, v in data.items() if k in _FIELDS}
        failure = values.get("failure")
        if failure is not None and not (isinstance(failure, str) and failure in FAILURES):
            former = _FORMER_FAILURES.get(failure) if isinstance(failure, str) else None
            values["failure"] = former or "error"
            if former is None:  # of a later version
                values["message"] = f"{_shown(failure)}: {values.get('message', '')}"
        return cls(**values)


_FIELDS = tuple(each.name for each in fields(Result))


class Failures:
    """Counts failures by their kind, each with its most frequent message. Its size does not grow with their number.

    >>> failures = Failures()
    >>> for message in ("No module named 'mine'", "No module named 'mine'", "division by zero"):
    ...     failures.add("error", message)
    >>> failures.describe()
    "all 3 networks failed: 3 × error: No module named 'mine' (2 of them)"
    """

    def __init__(self) -> None:
        self._messages: dict[str, Counter[str]] = {}

    def add(self, kind: str, message: str) -> None:
        """Count a failure."""
        counts = self._messages.setdefault(kind, Counter())
        message = message[:_LONGEST_SHOWN]
        counts[message if message in counts or len(counts) < _MOST_MESSAGES else ""] += 1

    def lines(self) -> list[str]:
        """Return a line for each kind, the most frequent first."""
        lines = []
        for kind, counts in sorted(self._messages.items(), key=lambda item: -item[1].total()):
            (message, count), total = counts.most_common(1)[0], counts.total()
            often = "" if count == total else f" ({count} of them)"
            why = message or FAILURES.get(kind, "an objective is missing in the result")
            lines.append(f"{total} × {kind}: {why}{often}")
        return lines

    @property
    def leading(self) -> str:
        """The most frequent kind; empty if there is none."""
        return max(self._messages, key=lambda kind: self._messages[kind].total(), default="")

    def describe(self) -> str:
        """Say in one line how all networks failed; empty if none has."""
        total = sum(counts.total() for counts in self._messages.values())
        lines = self.lines()
        more = f"; and {len(lines) - _KINDS_SHOWN} other kinds" if len(lines) > _KINDS_SHOWN else ""
        count = "the only network" if total == 1 else f"all {total} networks"
        return f"{count} failed: {'; '.join(lines[:_KINDS_SHOWN])}{more}" if total else ""


def _number(value: Any) -> int | float | None:
    """Return a scalar of any framework as Python's int or float; None if it is no number."""
    kind = type(value)
    if kind is float or (kind is int and -_LARGEST_INTEGER <= value < _LARGEST_INTEGER):
        return value  # type: ignore[no-any-return]
    if value is None or issubclass(kind, (str, bytes, bytearray)):  # isinstance asks the object
        return None
    try:
        if math.prod(getattr(value, "shape", ())) != 1 or getattr(value, "mask", False):  # an array; a masked value
            return None
        value = value.item() if hasattr(value, "item") else value
        try:
            number = operator.index(value)
        except TypeError:
            return float(value)
        return int(number) if -_LARGEST_INTEGER <= number < _LARGEST_INTEGER else float(number)
    except Exception:  # noqa: BLE001 - an object of the user's may raise anything
        return None


def _numbers(name: str, values: Any, remarks: list[str]) -> dict[str, float]:
    """Return a mapping of plain numbers; remarks say what is left out. A value of None is no value."""
    numbers: dict[str, float] = {}
    try:
        for key, value in islice(values.items(), _MOST_VALUES):
            number = value if type(value) is float else _number(value)
            is_plain = type(key) is str and key.isascii() and len(key) <= _LONGEST_NAME
            named = key if is_plain else _name(key)
            if number is not None and named is not None:
                numbers[named] = number
            elif named is None:
                remarks.append(f"{name}: a value is left out: expected text as its name, got {_shown(key)}")
            elif value is not None:
                remarks.append(f"{name}: {named!r} is left out: expected a number, got {_shown(value)}")
        if len(values) > _MOST_VALUES:
            remarks.append(f"{name}: {len(values) - _MOST_VALUES} of {len(values)} values are left out")
    except Exception as error:  # noqa: BLE001 - a mapping of the user's may raise anything
        if values is not None:
            remarks.append(f"{name}: left out: expected a mapping of numbers, got {_shown(values)} ({one_line(error)})")
    return numbers


def _curve(curve: Any, remarks: list[str]) -> tuple[dict[str, float], ...]:
    """Return a learning curve of plain numbers; remarks say what is left out."""
    points: list[dict[str, float]] = []
    wrong: list[str] = []
    count = 0
    try:
        for count, point in enumerate(curve if curve is not None else (), 1):
            if count <= _MOST_POINTS:
                points.append(_numbers("curve", point, wrong))
            elif count > 2 * _MOST_POINTS:
                break
    except Exception as error:  # noqa: BLE001 - a sequence of the user's may raise anything
        wrong.append(f"curve: expected one mapping of numbers a validation, got {_shown(curve)} ({one_line(error)})")
    if wrong:
        remarks.append(wrong[0] + (f"; and {len(wrong) - 1} more in the curve" if len(wrong) > 1 else ""))
    if count > _MOST_POINTS:
        remarks.append(f"curve: only the first {_MOST_POINTS} points are kept")
    return tuple(points)


def _name(key: Any) -> str | None:
    """Return a key as text, a number as JSON writes it; None if it is neither."""
    if issubclass(type(key), str):
        return _text(key, _LONGEST_NAME)
    number = _number(key)
    return None if number is None else str(number)


def _text(value: Any, longest: int) -> str:
    """Return text that UTF-8 can hold, with a remark if it had to be cut."""
    if not issubclass(type(value), str):
        value = "" if value is None else f"(expected text, got {_shown(value)})"
    length = str.__len__(value)
    text = str.__getitem__(value, slice(longest))
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if length > longest:
        cut = f" … (cut, {length:,} characters)"
        text = text[: longest - len(cut)] + cut
    return text


def _shown(value: Any) -> str:
    """Return a value in a few words, without calling a method of the user's."""
    kind = type(value)
    if kind in (bool, float, type(None)) or (kind is int and value.bit_length() < 100) or kind is str:
        return repr(value[:50] + "…" if kind is str and len(value) > 50 else value)
    try:
        shape = getattr(value, "shape", None)
    except Exception:  # noqa: BLE001 - a property of the user's may raise anything
        shape = None
    of_shape = f" of shape {shape}"[:60] if type(shape) is tuple and shape else ""
    return kind.__name__[:60] + of_shape
