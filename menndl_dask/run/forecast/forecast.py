"""A forecast: what a search is expected to cost, each figure with an interval; as it is stored and shown. Pure.

How it is estimated: `menndl_dask.search.forecast`. Intervals are meant to hold in four of five searches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from menndl_dask.text import MISSING, TextTable, counted, duration, size
from menndl_dask.validation import read


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with the interval that it is expected in, four times of five."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> Self:
        """Return the interval of a figure that is known."""
        return cls(value, value, value)

    def times(self, factor: float) -> Interval:
        """Return the interval of a multiple."""
        return Interval(factor * self.value, factor * self.low, factor * self.high)

    def has(self, value: float) -> bool:
        """Tell whether a figure lies in the interval."""
        return self.low <= value <= self.high

    def text(self, shown: Callable[[float], str]) -> str:
        """Write the figure and its interval.

        >>> Interval(90, 60, 150).text(lambda value: f"{value:g}")
        '90 (60 to 150)'
        """
        if self.low == self.high:
            return shown(self.value)
        return f"{shown(self.value)} ({shown(self.low)} to {shown(self.high)})"


@dataclass(frozen=True, slots=True)
class CostForecast:
    """What a search is expected to cost.

    Parameters
    ----------
    evaluations
        Networks, those that were evaluated before it included.
    workers, nodes
        Trainings at a time, and machines that they run on.
    seconds
        From the first submission to the last result; the comparison at the end is not in it.
    per_hour
        Networks an hour.
    network_s
        Seconds of an evaluation, the mean.
    saved
        Share of the training time that early stopping saves.
    staged_bytes
        Samples that are staged on each node.
    written_bytes
        What the run directory takes at the end.
    basis
        What it follows from, in words.
    comparison_s
        Seconds of the comparison at the end; None if it is not known.
    after
        Evaluations that were known when it was made.
    """

    evaluations: int
    workers: int
    nodes: int
    seconds: Interval
    per_hour: Interval
    network_s: Interval
    saved: Interval
    staged_bytes: float
    written_bytes: Interval
    basis: str
    comparison_s: Interval | None = None
    after: int = 0

    @property
    def hours(self) -> Interval:
        """Hours of the search, that of the comparison at the end not included."""
        return self.seconds.times(1 / 3600)

    @property
    def node_hours(self) -> Interval:
        """Hours of all machines."""
        return self.hours.times(self.nodes)

    def line(self) -> str:
        """Return the forecast in one line."""
        nodes = f", {self.node_hours.text(_short)} node-hours" if self.nodes > 1 else ""
        return (
            f"forecast: {counted(self.evaluations, 'evaluation')} on {counted(self.workers, 'worker')} in "
            f"{self.seconds.text(duration)}, {self.per_hour.text(_whole)} networks an hour{nodes}; by {self.basis}"
        )

    def table(self) -> TextTable:
        """Return the forecast as a table."""
        rows = [
            [name, shown(each.value), f"{shown(each.low)} to {shown(each.high)}"] for name, each, shown in self._rows()
        ]
        title = f"forecast of {counted(self.evaluations, 'evaluation')} on {counted(self.workers, 'worker')}"
        return TextTable(["", "expected", "in 4 of 5 searches"], rows, (0,), title)

    def beside(self, actual: Mapping[str, float]) -> TextTable:
        """Return a table of this forecast beside what came; `actual` has values by the names of the fields."""
        rows = []
        for name, each, shown in self._rows():
            found = actual.get(_FIELDS[name])
            came = MISSING if found is None else shown(found)
            where = MISSING if found is None else "yes" if each.has(found) else "no"
            rows.append([name, shown(each.value), f"{shown(each.low)} to {shown(each.high)}", came, where])
        head = ["", "forecast", "in 4 of 5 searches", "actual", "in the interval"]
        return TextTable(head, rows, (0,), f"forecast and actual; the forecast is by {self.basis}")

    def _rows(self) -> list[tuple[str, Interval, Callable[[float], str]]]:
        rows: list[tuple[str, Interval, Callable[[float], str]]] = [
            ("time of the search", self.seconds, duration),
            ("node-hours", self.node_hours, _short),
            ("networks an hour", self.per_hour, _whole),
            ("an evaluation", self.network_s, duration),
            ("training time saved by early stopping", self.saved, _percent),
            ("written by the run", self.written_bytes, size),
        ]
        if self.comparison_s is not None:
            rows.insert(1, ("comparison at the end", self.comparison_s, duration))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return the forecast as a plain dict."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read a forecast back; raises `UserError` for what is not one."""
        values = dict(data)
        for name in _INTERVALS:
            if values.get(name) is not None:
                values[name] = read(Interval, values[name], f"forecast: {name}")
        return read(cls, values, "forecast")


_INTERVALS = ("seconds", "per_hour", "network_s", "saved", "written_bytes", "comparison_s")
_FIELDS = {
    "time of the search": "seconds",
    "comparison at the end": "comparison_s",
    "node-hours": "node_hours",
    "networks an hour": "per_hour",
    "an evaluation": "network_s",
    "training time saved by early stopping": "saved",
    "written by the run": "written_bytes",
}


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _percent(share: float) -> str:
    return f"{share:.0%}"
